// What: A log whose reader is gone does not end the supervisor.
// Test: faults StuckLog.test_the_reader_is_gone
// In: src/server/supervisor.c

@@ @@
supervisor_run(...) { <...
- (void)signal(SIGPIPE, SIG_IGN);
...> }
