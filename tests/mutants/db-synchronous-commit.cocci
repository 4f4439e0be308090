// What: Commits are synchronous, whatever the server's configuration says.
// Test: service db check
// In: src/db/db_servers.c

@@ expression value; @@
greet(...) { <...
- db_text(value)
+ db_text(SV("local"))
...> }
