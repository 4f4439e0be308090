// What: A host that is alone asks PostgreSQL while commits wait for a standby.
// Test: hosts test_standby.Alone
// Test: unit db/hosts
// In: src/db/hosts_shared.c

@@ expression r, x; @@
obstacle_to_shortcut(...) { <...
- r->commits_waiting > 0 || x
+ r->commits_waiting > 1000000
...> }
