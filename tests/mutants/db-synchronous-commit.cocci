// What: Commits are synchronous, whatever the server's configuration says.
// Test: service db check
// In: src/db/db_servers.c

@@ expression value; @@
identify(...) { <...
- db_text(value)
+ db_text(SV("local"))
...> }
