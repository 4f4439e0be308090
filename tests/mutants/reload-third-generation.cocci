// What: a reload waits for the workers of the one before
// Test: faults test_reload.Reload
// In: src/proc/reload.c

@@ expression s; @@
reload_step(...) { <...
- s->reload_wanted && !staff_any(...)
+ s->reload_wanted
...> }
