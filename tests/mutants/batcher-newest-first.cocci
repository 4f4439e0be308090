// What: Who waits first is in the first batch.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression b, m; @@
db_batcher_run(...) { <...
- TAILQ_INSERT_TAIL(&b->waiting, m, link);
+ TAILQ_INSERT_HEAD(&b->waiting, m, link);
...> }
