// What: The first connection takes the primary of the highest timeline.
// Test: hosts test_servers.Timelines.test_first
// In: src/db/db_servers.c

@@ identifier first, c; @@
db_servers_open(...) { <...
- first || !c->pg
+ !c->pg
...> }
