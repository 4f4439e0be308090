// What: A statement is waited for until the deadline of its request, no longer.
// Test: faults test_silence.Postgres
// Test: faults test_silence.HalfAnAnswer
// In: src/db/db_pipeline.c

@@ identifier polls, moment, look; @@
exchange(...) { <...
- polls ? moment : look
+ polls ? moment : deadline_in_ms(2 * deadline_left_ms(ctx->deadline) + 20)
...> }
