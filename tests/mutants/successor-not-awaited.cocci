// What: A supervisor goes when its successor has taken over.
// Test: faults test_replace_program.ReplaceProgram.test_idle
// In: src/server/successor.c

@@ expression channel; @@
step_predecessor(...) { <...
  say(channel, TAKE_OVER);
+ hand_over(s);
...> }
