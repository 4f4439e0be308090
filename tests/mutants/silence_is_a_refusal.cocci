// What: A write that was sent and not answered has an unknown outcome.
// Test: faults test_fault_injection.OfPostgres.test_each_call_once
// In: src/db/db_query.c

@@ expression f; @@
is_outcome_unknown(...) { <...
- f->sent
+ !f->sent
...> }
