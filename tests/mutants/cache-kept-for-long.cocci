// What: No cache keeps a value for longer than PARLEY_CACHE_SECONDS.
// Test: faults test_erase.Second
// In: src/cache/cache.c

@@ expression c; @@
cache_put(...) { <...
- c->set.value_seconds
+ 9 * c->set.value_seconds
...> }
