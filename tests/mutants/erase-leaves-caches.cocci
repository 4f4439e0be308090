// What: An erasure removes the values from the caches of its host.
// Test: faults test_erase.Lone.test_redis_up
// In: src/cache/cache.c

@@ expression memory, hash; @@
cache_remove(...) { <...
- memory_remove(memory, hash)
+ (void)hash
...> }

@@ expression queue, name; @@
cache_remove(...) { <...
- cache_queue_push(queue, name, ...)
+ (void)name
...> }

@@ @@
cache_erase(...) { <...
- cache_redis_run(...)
+ true
...> }
