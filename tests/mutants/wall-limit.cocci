// What: The monotonic clock counts requests a second.
// Test: faults MachineClock.test_bounds
// In: src/auth/auth.c

@@ @@
auth_check(...) { <...
- clock_mono_us()
+ clock_wall_us()
...> }
