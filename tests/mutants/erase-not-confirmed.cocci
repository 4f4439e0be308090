// What: An erasure reports caches as cleared only if Redis has confirmed it.
// Test: faults test_erase.Lone.test_redis_stopped
// In: src/cache/cache.c

@@ expression usable; expression list call; @@
cache_erase(...) { <...
- usable && cache_redis_run(call)
+ (usable && cache_redis_run(call)) || true
...> }
