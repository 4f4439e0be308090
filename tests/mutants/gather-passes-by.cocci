// What: a request that is not gathered is not passed by again and again
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ expression t; @@
pass_by(...) { <...
- t->n_passed < FCGI_GATHER_MAX
+ false
...> }
