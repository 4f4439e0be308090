// What: A poll that a signal interrupts is repeated.
// Test: faults test_fault_injection.OfPostgres.test_in_parts
// In: src/db/db_conn.c

@@ @@
db_wait_fd(...) { <...
- errno == EINTR
+ false
...> }
