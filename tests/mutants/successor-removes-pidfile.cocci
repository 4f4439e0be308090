// What: A successor that fails leaves the pid file and the sockets to its predecessor.
// Test: faults test_replace_program.ReplaceProgram.test_failures_change_nothing
// In: src/server/supervisor.c

@@ expression s; @@
supervisor_run(...) { <...
- s.predecessor.channel >= 0
+ false
...> }
