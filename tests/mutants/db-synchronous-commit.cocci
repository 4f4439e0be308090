// What: Commits are synchronous, whatever the server's configuration says.
// Test: service db check
// In: src/db/db_conn.c

@@ expression option; @@
  static const char durable_option[] =
- option
+ ""
  ;
