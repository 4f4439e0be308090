// What: A successor takes over when all its workers are ready.
// Test: faults test_replace_program.ReplaceProgram.test_no_request_fails
// In: src/server/successor.c

@@ expression a, b; @@
is_ready(...) { <...
- return a == b;
+ return true;
...> }
