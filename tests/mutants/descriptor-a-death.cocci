// What: The supervisor closes the descriptors of a worker that died.
// Test: faults test_workers.Kills.test_one_worker_each_200_ms
// In: src/server/worker_table.c

@@ @@
worker_table_reap(...) { <...
+ (void)!dup(0);
  db_hosts_worker_ended(...);
...> }
