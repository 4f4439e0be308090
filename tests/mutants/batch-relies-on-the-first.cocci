// What: A later group of a pipeline uses no statement that the first group prepares: that may fail.
// Test: service db batch
// In: src/db/db_pipeline.c

@@ identifier later, c, stmt; @@
send_step(...) { <...
- is_prepared(c, stmt, later ? c->n_prepared : c->n_parsed)
+ is_prepared(c, stmt, c->n_parsed)
...> }
