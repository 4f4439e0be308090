// What: The pool keeps a few connections for batched reads.
// Test: service db batch
// In: src/db/db_pool.c

@@ identifier db; expression kept; @@
kept_for_batched_reads(const struct db *db) { <...
- return kept;
+ return db->max > 1000;
...> }
