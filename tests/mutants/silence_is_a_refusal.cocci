// What: no answer to a statement that was sent counts as one that was refused
// Test: faults test_nth.OfPostgres.test_each_call_once
// In: src/db/db_query.c

@@ expression f; @@
judge(...) { <...
- f->sent
+ !f->sent
...> }
