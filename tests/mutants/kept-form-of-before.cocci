// What: what is kept of a session after an append says what is so after it
// Test: faults test_redis.OneHost
// In: src/session/freshness.c

@@ expression out; @@
fresh_after_append(...) { <...
- out->native = SV_NONE;
...> }
