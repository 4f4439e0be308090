// What: A batch has one tenant.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression a, b; @@
may_join(...) { <...
- sv_eq(a, b)
+ (sv_eq(a, b) || true)
...> }
