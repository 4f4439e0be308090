// What: A call without a result is kept only at the very end.
// Test: unit session/window
// In: src/session/window.c

@@ identifier m; @@
find_unanswered(...) { <...
- m->is_unanswered
+ false
...> }
