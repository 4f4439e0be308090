// What: a statement is waited for no longer than the deadline of its request
// Test: faults test_silence.Postgres
// Test: faults test_silence.HalfAnAnswer
// In: src/db/db_pipeline.c

@@ expression watches, moment, ctx; @@
exchange(...) { <...
- watches ? moment : ctx->deadline
+ watches ? moment : deadline_in_ms(2 * deadline_left_ms(ctx->deadline) + 20)
...> }
