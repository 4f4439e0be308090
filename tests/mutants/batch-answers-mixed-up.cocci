// What: Each member of a batch of writes gets its own answer.
// Test: service session batch_rules
// In: src/session/sql/sql_batch.c

@@ expression rows, row, n_column; @@
take_receipts(...) { <...
- db_get_i64(rows, row, n_column) - 1
+ db_get_i64(rows, row, n_column) % (int)n
...> }
