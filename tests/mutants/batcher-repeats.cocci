// What: The members of a batch that failed do not run again: it may have been committed.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression members; identifier e, i; @@
run_batch(...) { <...
  members[i]->err = e;
+ members[i]->apart = DB_APART_FAILED;
...> }
