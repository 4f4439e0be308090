// What: A member that a batch left out runs its own statement.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ identifier b, m; @@
db_batcher_run(...) { <...
- const enum err e = m->apart ? run_apart(b, m) : m->err;
+ const enum err e = apart ? run_apart(b, m) : m->err;
...> }
