// What: A write that may have been done is not sent again.
// Test: faults test_commit.CommitCut.test_every_write
// In: src/db/db_query.c

@@ expression retry, f; @@
may_repeat(...) { <...
- retry == DB_READ || !f->sent
+ retry == DB_READ || true
...> }
