// What: Parley has its own deadline for each statement, besides that of the server.
// Test: faults PostgresClock.test_3
// In: src/db/db_pipeline.c

@@ identifier polls, moment, look; @@
exchange(...) { <...
- polls ? moment : look
+ polls ? moment : deadline_in_ms(60000)
...> }
