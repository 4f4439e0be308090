// What: parley has a deadline of its own for each statement
// Test: faults PostgresClock.test_3
// In: src/db/db_pipeline.c

@@ expression watches, moment, ctx; @@
exchange(...) { <...
- watches ? moment : ctx->deadline
+ watches ? moment : deadline_in_ms(60000)
...> }
