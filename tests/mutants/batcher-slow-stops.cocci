// What: A statement that takes over 50 ms stops nobody.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression r, slow; @@
may_start(...) { <...
- r->began_us <= slow
+ r->began_us <= slow - 100000000
...> }
