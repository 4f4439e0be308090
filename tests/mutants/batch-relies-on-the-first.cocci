// What: a later group of a pipeline prepares nothing that the first one may have prepared
// Test: service db batch
// In: src/db/db_pipeline.c

@@ identifier room, later; @@
send_step(...) { <...
- room && !later
+ room && !(later && false)
...> }
