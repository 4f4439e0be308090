// What: A reload waits until the workers of the one before have ended.
// Test: faults test_reload.Reload
// In: src/server/reload.c

@@ expression s; @@
reload_step(...) { <...
- s->reload_wanted && !worker_table_any(...)
+ s->reload_wanted
...> }
