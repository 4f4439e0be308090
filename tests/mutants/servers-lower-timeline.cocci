// What: A server of a lower timeline than one that was seen is not used.
// Test: hosts test_servers.Timelines.test_former
// In: src/db/db_servers.c
// In: src/db/db_pool.c

@@ expression highest; identifier c; @@
try_server(...) { <...
- c.timeline < highest
+ c.timeline < 0
...> }

@@ expression outdated; @@
db_conn_is_outdated(...) { <...
- return outdated;
+ return false;
...> }
