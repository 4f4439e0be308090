// What: An append updates a cached value only if its stamp is that of the row before the write.
// Test: service session/freshness
// Test: faults test_failover.Backup.test_restored
// In: src/session/freshness.c

@@ expression found, before; @@
fresh_after_append(...) { <...
- !cache_stamp_eq(found, before)
+ found.version != before.version
...> }
