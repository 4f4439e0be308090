// What: The shortcut ends 1 s after the last successful poll.
// Test: unit hosts
// Test: faults test_alone.Stopped.test_while_another_writes
// Test: faults test_alone.Stopped.test_the_worker_that_polls
// In: src/db/hosts_shared.c

@@ expression until_us, sent_us; @@
update_shortcut(...) { <...
- atomic_store(until_us, sent_us + HOSTS_ALONE_US)
+ atomic_store(until_us, sent_us + 60 * HOSTS_ALONE_US)
...> }
