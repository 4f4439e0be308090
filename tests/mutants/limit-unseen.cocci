// What: A worker reports at its start a limit of open files that is too low.
// Test: faults test_1_a_limit
// In: src/server/descriptors.c

@@ identifier limit, need; @@
descriptors_enough(...) { <...
- limit >= need
+ true
...> }
