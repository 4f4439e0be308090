// What: Parley has its own deadline for each statement, besides that of the server.
// Test: faults PostgresClock.test_3
// In: src/db/db_pipeline.c

@@ expression watches, moment, ctx; @@
exchange(...) { <...
- watches ? moment : ctx->deadline
+ watches ? moment : deadline_in_ms(60000)
...> }
