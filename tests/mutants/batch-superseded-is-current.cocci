// What: A member whose session a later member of the batch changed again has a marked receipt.
// Test: service session/batches
// In: src/session/sql/sql_batch.c

@@ expression w, E; @@
take_receipts(...) { <...
- w->receipt->superseded = E;
+ w->receipt->superseded = E && false;
...> }
