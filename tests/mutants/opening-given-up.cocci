// What: A connection that is terminated while it opens is opened again.
// Test: faults test_commit.CommitCut.test_a_read_whose_connection_is_terminated_while_it_is_opened
// In: src/db/db_conn.c

@@ identifier result; @@
db_conn_open(...) { <...
- if (result == OPEN_ENDED) result = open_once(...);
...> }
