// What: A write whose outcome is unknown puts its key into quarantine.
// Test: service session/alone
// In: src/session/freshness.c

@@ expression cache, snapshot, in_doubt; @@
fresh_write_end(...) { <...
- cache_raise_epoch(cache, snapshot, in_doubt)
+ cache_raise_epoch(cache, snapshot, false)
...> }
