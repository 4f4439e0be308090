// What: A command of Redis takes PARLEY_REDIS_MS at most.
// Test: service cache/redis_away
// Test: faults test_silence.Redis
// In: src/cache/redis_client.c

@@ typedef int64_t; expression r; @@
cache_redis_run(...) { <...
- deadline_in_ms(r->timeout_ms)
+ deadline_in_ms(100 * (int64_t)r->timeout_ms)
...> }
