// What: What was read ahead is used once.
// Test: service session/ahead
// In: src/session/freshness.c

@@ expression ctx; @@
take_ahead(...) { <...
- ctx->ahead = NULL;
...> }
