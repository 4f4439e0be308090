// What: A supervisor that has a successor leaves the sockets open.
// Test: faults test_replace_program.ReplaceProgram.test_no_request_fails
// In: src/server/successor.c

@@ expression l; @@
hand_over(...) { <...
- listener_own(l, NULL);
+ (void)l;
...> }
