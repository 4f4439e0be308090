// What: Recycling waits until the worker that drains has ended.
// Test: faults test_reload.Recycling
// In: src/server/reload.c

@@ expression recycle_us; @@
reload_step(...) { <...
- clock_mono_us() >= recycle_us && !worker_table_any(...)
+ clock_mono_us() >= recycle_us
...> }
