// What: the mark is a part of the stamp that PostgreSQL is asked for
// Test: service session/freshness
// Test: faults test_failover.Backup.test_restored
// Test: faults test_failover.Standby.test_failover
// In: src/session/freshness.c

@@ expression now, found; @@
ask(...) { <...
- !cache_stamp_eq(now, found)
+ (now.generation != found.generation || now.version != found.version)
...> }
