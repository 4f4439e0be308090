// What: A window does not begin between a call and its result.
// Test: unit session/window
// In: src/session/window.c

@@ expression x, y; @@
may_begin(...) {
- return is_kept(x, y) && ...;
+ return is_kept(x, y);
}
