// What: A request leaks no memory.
// Test: faults Soak
// In: src/api/dispatch.c

@@ @@
+ #include <stdlib.h>
  #include <string.h>

@@ expression c; @@
begin_call(...) { <...
+ char *volatile lost = malloc(1024);
+ if (lost)
+     memset(lost, 1, 1024);
  c->began = clock_mono_us();
...> }
