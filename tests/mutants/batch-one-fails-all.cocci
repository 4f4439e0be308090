// What: A member that PostgreSQL refuses does not fail the others of its batch.
// Test: service session batch_rules
// In: src/session/sql/sql_batch.c

@@ expression failure; @@
run_batch(...) { <...
- may_try_alone(failure)
+ (may_try_alone(failure) && false)
...> }
