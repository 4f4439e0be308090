// What: No member follows one that returns the newest messages of the same session.
// Test: service session/batch_members
// In: src/session/sql/sql_batch.c

@@ expression a, b; @@
fits(...) { <...
- sv_eq(a->id, b->id)
+ (sv_eq(a->id, b->id) && false)
...> }
