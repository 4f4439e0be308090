// What: A read compares the mark of a stamp, too.
// Test: service session/freshness
// Test: faults test_failover.Backup.test_restored
// Test: faults test_failover.Standby.test_failover
// In: src/session/freshness.c

@@ expression now, found; @@
read_checked(...) { <...
- !cache_stamp_eq(now, found)
+ (now.generation != found.generation || now.version != found.version)
...> }
