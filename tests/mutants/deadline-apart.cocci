// What: A statement is waited for until the deadline of its request, no longer.
// Test: faults test_silence.Postgres
// Test: faults test_silence.HalfAnAnswer
// In: src/db/db_pipeline.c

@@ expression ctx; @@
exchange(...) { <...
- !deadline_passed(ctx->deadline)
+ clock_mono_us() < ctx->deadline.at_us + 2000000
...> }
