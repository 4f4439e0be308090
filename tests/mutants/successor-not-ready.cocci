// What: A successor takes over when all its workers are ready.
// Test: faults test_replace_program.ReplaceProgram.test_supervisor_killed_meanwhile
// In: src/server/successor.c

@@ expression s, set; @@
step_successor(...) { <...
- worker_set_is_ready(s, set)
+ true
...> }
