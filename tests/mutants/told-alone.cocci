// What: A full server accepts the connections of which the kernel told nobody else.
// Test: unit fcgi/server
// In: src/fcgi/connection.c

@@ expression full, s; @@
fcgi_listener_requeue(...) { <...
- full && accept_one(s)
+ full && s->n_threads < 0 && accept_one(s)
...> }
