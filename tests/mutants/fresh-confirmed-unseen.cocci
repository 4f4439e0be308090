// What: A read uses a cached value only if its stamp is the one that PostgreSQL returned.
// Test: service session/freshness
// Test: faults test_redis.OneRedis
// Test: faults test_redis.RedisEach
// In: src/session/freshness.c

@@ @@
read_checked(...) { <...
- !cache_stamp_eq(...)
+ false
...> }
