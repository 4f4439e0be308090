// What: A batch ends at the earliest deadline of its members, not at that of its leader.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ expression a, b; @@
run_batch(...) { <...
- deadline_earlier(a, b)
+ (b.at_us ? a : b)
...> }
