// What: a plus is a space in a query alone
// Test: fuzz target
// In: src/http/target.c

@@ expression c; identifier plus; @@
decode(...) { <...
- c == '+' && plus
+ c == '+' && (plus || true)
...> }
