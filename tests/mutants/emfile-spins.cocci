// What: After accept failed for lack of a descriptor, the server pauses before the next try.
// Test: faults test_4_none_left
// In: src/fcgi/connection.c

@@ @@
may_retry(...) { <...
- (void)poll(...);
+ return false;
...> }
