// What: Parley has its own deadline for each statement, besides that of the server.
// Test: faults PostgresClock.test_3
// In: src/db/db_pipeline.c

@@ expression ctx; @@
exchange(...) { <...
- !deadline_passed(ctx->deadline)
+ clock_mono_us() < ctx->deadline.at_us + 60000000
...> }
