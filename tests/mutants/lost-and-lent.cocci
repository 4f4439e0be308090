// What: A lost connection does not go back to the pool.
// Test: faults test_postgres.Backends.test_terminated_each_500_ms
// In: src/db/db_pool.c
// In: src/db/db_pipeline.c

@@ identifier c; @@
db_conn_quiet(const struct db_conn *c) { <...
- net_wait(...) == 0
+ c->pg != NULL
...> }

@@ identifier c; expression clean; @@
db_conn_clean(struct db_conn *c) { <...
- return clean;
+ return c->pg != NULL;
...> }

@@ expression before, f; @@
mark_connection(...) { <...
- before || (f->flags & SQLSTATE_SUSPECT) || f->kind == FAULT_LOST
+ before || (f->flags & SQLSTATE_SUSPECT)
...> }
