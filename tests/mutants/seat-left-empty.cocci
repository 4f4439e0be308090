// What: A worker that dies is replaced soon.
// Test: faults test_fault_injection.OfPostgres.test_libfcgi_without_memory
// In: src/server/worker_table.c

@@ expression r; identifier first; @@
respawn_after_death(...) { <...
- r->delay_us = first
+ r->delay_us = 6 * longest + first
...> }
