// What: A later group of a pipeline prepares no statement: the first group may have prepared it.
// Test: service db batch
// In: src/db/db_pipeline.c

@@ identifier room, later; @@
send_step(...) { <...
- room && !later
+ room && !(later && false)
...> }
