// What: Memory alone answers only with a value that no worker of the host has changed since.
// Test: service session/alone
// Test: faults test_redis.OneHost
// Test: faults test_redis.WorkersKilled
// In: src/session/freshness.c

@@ expression r; @@
read_through(...) { <...
- r.found.current
+ true
...> }
