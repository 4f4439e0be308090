// What: Each member of a batch gets its own row.
// Test: service db batch
// Test: service session/ahead
// In: src/db/db_batch.c

@@ expression list where; @@
hand_out_rows(...) { <...
- db_get_i64(where)
+ db_get_i64(where) + 1
...> }
