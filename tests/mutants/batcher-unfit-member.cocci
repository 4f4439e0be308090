// What: The kind decides who may be in a batch.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression b; expression list where; @@
may_join(...) { <...
- b->kind->fits(where)
+ (b->kind->fits(where) || true)
...> }
