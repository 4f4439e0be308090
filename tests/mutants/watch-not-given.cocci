// What: The thread that polls hands polling over before it waits for a peer.
// Test: unit fcgi/server
// In: src/fcgi/request_reader.c

@@ expression turn; @@
fcgi_read(...) { <...
- !turn->peek.whole
+ false
...> }
