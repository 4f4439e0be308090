// What: A batch that the server refuses fails none of its members: each goes alone.
// Test: service session/batch_members
// In: src/session/sql/sql_batch.c

@@ expression list rest; @@
run_batch(...) { <...
- may_try_alone(rest)
+ (may_try_alone(rest) && false)
...> }
