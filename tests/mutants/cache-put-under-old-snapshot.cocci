// What: A value is stored only if it was read under the current epoch.
// Test: unit cache/memory_table
// Test: unit cache/cache
// Test: service cache/redis_values
// In: src/cache/memory_table.c

@@ expression s; @@
memory_is_current(...) { <...
- atomic_load(epoch_of(...)) == s->epoch
+ true
...> }
