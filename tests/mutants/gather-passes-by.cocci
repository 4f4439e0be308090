// What: A request that is not gathered is served next: no other batch passes it.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ expression t; @@
pass_by(...) { <...
- t->n_passed < FCGI_GATHER_MAX
+ false
...> }
