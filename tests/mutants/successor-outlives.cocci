// What: A successor ends with its predecessor until it has taken over.
// Test: faults test_replace_program.ReplaceProgram.test_supervisor_killed_meanwhile
// In: src/server/successor.c

@@ expression s; @@
step_successor(...) { <...
- getppid() != s->predecessor.pid
+ false
...> }
