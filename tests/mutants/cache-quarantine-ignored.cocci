// What: A key in quarantine is neither read as current nor stored.
// Test: unit cache/memory_table
// Test: unit cache/cache
// In: src/cache/memory_table.c

@@ expression s; @@
memory_is_current(...) { <...
- s->usable
+ true
...> }
