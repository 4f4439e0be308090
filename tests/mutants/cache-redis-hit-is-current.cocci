// What: A value from Redis never counts as current.
// Test: service cache/redis_values
// In: src/cache/cache.c

@@ expression out, nothing; @@
cache_find(...) { <...
- *out = nothing;
+ out->from = METRICS_REDIS;
...> }
