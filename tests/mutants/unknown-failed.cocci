// What: A write that was sent and not answered is not reported as failed.
// Test: faults test_commit.CommitCut.test_every_write
// Test: faults test_commit.CommitCut.test_every_step_of_an_erasure
// In: src/db/db_query.c

@@ expression f; @@
is_outcome_unknown(...) { <...
- f->sent
+ !f->sent
...> }
