// What: requests a second are counted by the monotonic clock
// Test: faults MachineClock.test_bounds
// In: src/auth/auth.c

@@ @@
auth_check(...) { <...
- clock_mono_us()
+ clock_wall_us()
...> }
