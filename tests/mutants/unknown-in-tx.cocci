// What: A COMMIT that was sent and not answered has an unknown outcome.
// Test: service db tx
// In: src/db/db_query.c

@@ expression f; @@
commit(...) { <...
- is_outcome_unknown(f)
+ f->kind == FAULT_TIMEOUT
...> }
