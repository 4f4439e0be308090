// What: While connections wait, the server accepts one after each request that it serves.
// Test: unit fcgi/server
// In: src/fcgi/server.c

@@ @@
serve_one(...) { <...
- fcgi_listener_accept_more(...);
...> }
