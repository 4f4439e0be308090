// What: where accept fails for want of a descriptor it is called again after a pause
// Test: faults test_4_none_left
// In: src/fcgi/connection.c

@@ @@
again(...) { <...
- (void)poll(...);
+ return false;
...> }
