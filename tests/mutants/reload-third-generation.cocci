// What: A reload, and recycling, wait until the workers of the one before have ended.
// Test: faults test_reload.Reload
// Test: faults test_reload.Recycling
// In: src/server/reload.c

@@ @@
reload_may_begin(...) { <...
- !worker_table_any(...)
+ true
...> }
