// What: After an append the cached JSON of a session shows the state after it.
// Test: faults test_redis.OneHost
// In: src/session/freshness.c

@@ expression out; @@
fresh_after_append(...) { <...
- out->native = SV_NONE;
...> }
