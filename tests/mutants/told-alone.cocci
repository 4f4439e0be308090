// What: A full server accepts the connections of which the kernel told nobody else.
// Test: unit fcgi/server
// In: src/fcgi/server.c

@@ expression full, s; @@
wait_behind_the_others(...) { <...
- full && fcgi_conn_accept(s)
+ full && s->n_threads < 0 && fcgi_conn_accept(s)
...> }
