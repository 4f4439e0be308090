// What: a reload leaves no descriptor of the supervisor open
// Test: faults test_5_reloads
// In: src/proc/reload.c

@@ expression s; @@
begin(...) { <...
  s->reload_wanted = false;
+ (void)!open("/dev/null", O_RDONLY);
...> }
