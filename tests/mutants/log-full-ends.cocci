// What: A log line for which the disk has no room is dropped: the worker continues.
// Test: faults FullLog
// In: src/obs/log.c

@@ identifier n; @@
end_line(...) {
  ...
  ssize_t n = 0;
  ...
+ if (n < 0 && errno == ENOSPC)
+     _exit(1);
}
