// What: The owner of a session is the one that PostgreSQL returned.
// Test: service session/freshness
// In: src/session/freshness.c

@@ expression out, now; @@
read_checked(...) { <...
- out->user_id = now.user_id;
...> }
