// What: A successor ends with its predecessor until it has taken over.
// Test: faults test_replace_program.ReplaceProgram.test_supervisor_killed_meanwhile
// In: src/server/successor.c

@@ @@
execute(...) { <...
- prctl(PR_SET_PDEATHSIG, SIGKILL) != 0
+ false
...> }
