// What: A plus means a space only in a query.
// Test: fuzz target
// In: src/http/target.c

@@ expression c; identifier plus; @@
decode(...) { <...
- c == '+' && plus
+ c == '+' && (plus || true)
...> }
