// What: A request waits PARLEY_ACQUIRE_MS at most for a connection.
// Test: faults test_pool
// In: src/db/db_acquire.c

@@ expression db; @@
db_pool_acquire(...) { <...
- deadline_in_ms(db->set.acquire_ms)
+ deadline_in_ms(10 * db->set.acquire_ms)
...> }
