// What: while connections wait one is accepted for each request that is served
// Test: unit fcgi/server
// In: src/fcgi/server.c

@@ @@
serve(...) { <...
- fcgi_conn_accept_more(...);
...> }
