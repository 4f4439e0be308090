// What: Recycling waits until the worker that drains has ended.
// Test: faults test_reload.Recycling
// In: src/proc/reload.c

@@ expression recycle_us; @@
reload_step(...) { <...
- clock_mono_us() >= recycle_us && !staff_any(...)
+ clock_mono_us() >= recycle_us
...> }
