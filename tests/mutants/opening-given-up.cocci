// What: A connection that is terminated while it opens is opened again.
// Test: faults test_commit.CommitCut.test_a_read_whose_connection_is_terminated_while_it_is_opened
// In: src/db/db_servers.c

@@ expression result, again; @@
try_server(...) { <...
- result == OPEN_ENDED && !again
+ false
...> }
