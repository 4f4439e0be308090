// What: The connection of a write that got no answer stays open until its backend has ended.
// Test: hosts test_standby.Standby
// Test: service db pool
// In: src/db/db_acquire.c

@@ expression conn; @@
db_pool_release(...) { <...
- conn->unanswered && conn->demand.writes
+ false
...> }
