// What: A reload leaks no descriptor of the supervisor.
// Test: faults test_5_reloads
// In: src/server/reload.c

@@ expression s; @@
begin_reload(...) { <...
  s->reload_wanted = false;
+ (void)!open("/dev/null", O_RDONLY);
...> }
