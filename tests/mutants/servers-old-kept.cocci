// What: Connections to a server of a lower timeline are closed.
// Test: hosts test_servers.Timelines.test_connections
// In: src/db/db_pool.c

@@ expression outdated; @@
db_conn_is_outdated(...) { <...
- return outdated;
+ return false;
...> }
