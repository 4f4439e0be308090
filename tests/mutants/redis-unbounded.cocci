// What: a command of Redis is waited for no longer than PARLEY_REDIS_MS
// Test: service cache/redis_away
// Test: faults test_silence.Redis
// In: src/cache/redis_client.c

@@ typedef int64_t; expression r; @@
cache_redis_call(...) { <...
- deadline_in_ms(r->timeout_ms)
+ deadline_in_ms(100 * (int64_t)r->timeout_ms)
...> }
