// What: A key stands once in a batch.
// Test: service session/batches
// In: src/session/sql/sql_batch.c

@@ expression a, b; @@
fits(...) { <...
- sv_eq(a->precondition->key, b)
+ (sv_eq(a->precondition->key, b) && false)
...> }
