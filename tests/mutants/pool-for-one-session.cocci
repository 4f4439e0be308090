// What: Writers of one session leave connections to others.
// Test: faults test_pool
// Test: service db pool
// In: src/db/db_pool.c

@@ expression demand, same_key, most; @@
is_full_for(...) { <...
- demand.contention_key != 0 && same_key >= most
+ demand.contention_key != 0 && same_key > 1000 * most
...> }
