// What: Commits are synchronous, whatever the server's configuration says.
// Test: service db check
// In: src/db/db_conn.c

@@ expression greeting; @@
greet(...) { <...
- u->plain ? plain_greeting : greeting
+ plain_greeting
...> }
