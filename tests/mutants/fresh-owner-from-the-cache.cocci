// What: the owner is the one that PostgreSQL has named
// Test: service session/freshness
// In: src/session/freshness.c

@@ expression out, now; @@
ask(...) { <...
- out->user_id = now.user_id;
...> }
