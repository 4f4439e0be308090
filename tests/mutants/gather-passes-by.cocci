// What: A request that is not gathered is served next: no other batch passes it.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ expression t; @@
defer_conn(...) { <...
- t->n_deferred < FCGI_GATHER_MAX
+ false
...> }
