// What: a limit of open files that cannot be enough is told at the start
// Test: faults test_1_a_limit
// In: src/proc/descriptors.c

@@ identifier limit, need; @@
descriptors_enough(...) { <...
- limit >= need
+ true
...> }
