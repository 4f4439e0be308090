// What: The deadlines of members are near to each other.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ @@
may_join(...) { <...
- DEADLINES_US
+ DEADLINES_US * 1000
...> }
