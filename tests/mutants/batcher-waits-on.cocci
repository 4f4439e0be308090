// What: Who waits for acquire_ms is refused.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression limit; @@
wait_for_turn(...) { <...
- deadline_passed(limit)
+ (deadline_passed(limit) && false)
...> }
