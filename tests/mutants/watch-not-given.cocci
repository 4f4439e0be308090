// What: the only thread that watches does not wait for a peer
// Test: unit fcgi/server
// In: src/fcgi/exchange.c

@@ expression turn; @@
fcgi_read(...) { <...
- !turn->peek.whole
+ false
...> }
