// What: A read uses a cached value only if PostgreSQL says that it is current.
// Test: service session/freshness
// Test: faults test_redis.NoRedis
// In: src/session/freshness.c

@@ expression r; @@
read_through(...) { <...
(
- r.found.current
+ true
|
- db_hosts_is_alone(...)
+ true
)
...> }
