// What: Each member of a batch that fails is told so.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression members; identifier e, i; @@
run_batch(...) { <...
- members[i]->err = e;
+ members[i]->err = i == 0 ? e : ERR_NONE;
...> }
