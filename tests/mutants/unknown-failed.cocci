// What: a write whose answer is lost is told as one that was not done
// Test: faults test_commit.CommitCut.test_every_write
// Test: faults test_commit.CommitCut.test_every_step_of_an_erasure
// In: src/db/db_query.c

@@ expression f; @@
judge(...) { <...
- f->sent
+ !f->sent
...> }
