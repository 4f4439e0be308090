// What: A connection is closed after a time-out and never used again.
// Test: faults test_silence.Postgres
// Test: faults test_silence.HalfAnAnswer
// In: src/db/db_pool.c
// In: src/db/db_pipeline.c

@@ expression list wait; @@
db_conn_quiet(...) { <...
- net_wait(wait) == 0
+ net_wait(wait) >= 0
...> }

@@ identifier c; expression clean; @@
db_conn_clean(struct db_conn *c) { <...
- return clean;
+ return c->pg && PQstatus(c->pg) == CONNECTION_OK;
...> }

@@ expression r, left; @@
db_pipeline_run_groups(...) { <...
- !is_read(r) || left
+ is_read(r) && left
...> }
