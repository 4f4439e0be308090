// What: A key stands once in a batch.
// Test: service session/batches
// In: src/session/sql/sql_batch.c

@@ expression a, b; @@
fits(...) { <...
- sv_eq(a->precondition->key, b->precondition->key)
+ (sv_eq(a->precondition->key, b->precondition->key) && false)
...> }
