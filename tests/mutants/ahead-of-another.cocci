// What: What was read ahead for one session is not used for another.
// Test: service session/ahead
// In: src/session/freshness.c

@@ expression a, id; @@
take_ahead(...) { <...
- sv_eq(a, id)
+ id.n > 0
...> }
