// What: The monotonic clock measures durations.
// Test: faults MachineClock.test_jumps
// Test: faults ParleyClock.test_jumps
// In: src/base/clock.c

@@ @@
clock_mono_us(...) { <...
- return clock_read(CLOCK_MONOTONIC);
+ static int64_t base;
+ if (base == 0)
+     base = clock_read(CLOCK_REALTIME) - clock_read(CLOCK_MONOTONIC);
+ return clock_read(CLOCK_REALTIME) - base;
...> }
