// What: A writer that has not locked a stripe does not write to it.
// Test: unit cache/memory_torn
// In: src/cache/memory_table.c

@@ identifier held; expression s, self; @@
memory_store(...) { <...
- const uint64_t held = try_lock(s, self);
- if (held == 0) return false;
+ const uint64_t tried = try_lock(s, self), held = tried ? tried : load_acquire(&s->lock);
...> }
