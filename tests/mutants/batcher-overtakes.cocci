// What: While one of a contention key runs apart, others of the key are in no batch.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression b, key; @@
db_batcher_run(...) { <...
- b->apart[key % APART_SLOTS] > 0
+ b->apart[key % APART_SLOTS] > 1000
...> }
