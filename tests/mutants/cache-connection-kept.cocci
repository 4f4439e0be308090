// What: A connection to Redis is closed after a time-out.
// Test: service cache/redis_away
// In: src/cache/redis_client.c

@@ expression r, conn, done; @@
cache_redis_run(...) { <...
- release(r, failures, conn, done)
+ release(r, failures, conn, !conn->err)
...> }
