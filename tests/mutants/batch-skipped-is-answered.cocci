// What: A member that the batch left out runs its own statement.
// Test: service session/batches
// In: src/session/sql/sql_batch.c

@@ @@
take_receipts(...) { <...
- DB_APART_SKIPPED
+ DB_TOGETHER
...> }
