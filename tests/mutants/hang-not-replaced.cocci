// What: A worker whose handler hangs is replaced.
// Test: faults test_hanging_handler.Hang.test_worker_is_replaced
// In: src/server/worker.c

@@ expression a, b; @@
report(...) { <...
- api_hangs(a, b)
+ (api_hangs(a, b) && false)
...> }
