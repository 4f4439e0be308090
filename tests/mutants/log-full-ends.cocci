// What: a line that a full disk does not take is lost, and the worker goes on
// Test: faults FullLog
// In: src/obs/log.c

@@ identifier n; @@
log_end(...) {
  ...
  ssize_t n = 0;
  ...
+ if (n < 0 && errno == ENOSPC)
+     _exit(1);
}
