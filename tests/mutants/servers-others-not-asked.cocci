// What: Servers that are not used are asked now and then.
// Test: hosts test_servers.Timelines.test_promoted
// In: src/db/db_servers.c

@@ expression E; @@
claim_turn(...) { <...
- return E;
+ return false;
...> }
