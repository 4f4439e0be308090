// What: A read is repeated when its connection is lost.
// Test: faults test_commit.CommitCut.test_a_read_is_repeated_once
// Test: faults test_commit.CommitCut.test_every_write
// Test: faults test_postgres.Backends.test_terminated_each_500_ms
// In: src/db/db_query.c

@@ expression retry, f; @@
may_repeat(...) { <...
- retry == DB_READ || !f->sent
+ retry == DB_WRITE && !f->sent
...> }
