// What: The thread that polls hands polling over before it waits for a peer.
// Test: unit fcgi/server
// In: src/fcgi/request_reader.c

@@ expression job; @@
fcgi_request_read(...) { <...
- !job->whole
+ false
...> }
