// What: A reader checks the lock of its stripe again after it has copied the value.
// Test: unit cache/memory_torn
// In: src/cache/memory_table.c

@@ expression s, before; @@
memory_find(...) { <...
- load_acquire(&s->lock) == before
+ true
...> }
