// What: Writers of one session leave a quarter of the pool to others.
// Test: faults test_pool
// Test: service service db pool
// In: src/db/db_pool.c

@@ expression who, of_lane, most; @@
is_full_for(...) { <...
- who.contention_key != 0 && of_lane >= most
+ who.contention_key != 0 && of_lane > 1000 * most
...> }
