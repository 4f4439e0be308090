// What: a line of the log that does not fit into its pipe is lost, and nobody waits for room
// Test: faults StuckLog.test_nobody_reads
// In: src/obs/log.c

@@ @@
log_end(...) { <...
- MSG_DONTWAIT | MSG_NOSIGNAL
+ MSG_NOSIGNAL
...> }

@@ @@
log_open(...) { <...
- fstat(...) != 0
+ true
...> }
