// What: A log line for which its pipe has no room is dropped: no thread waits for room.
// Test: faults StuckLog.test_nobody_reads
// In: src/obs/log.c

@@ @@
end_line(...) { <...
- MSG_DONTWAIT | MSG_NOSIGNAL
+ MSG_NOSIGNAL
...> }

@@ @@
open_inherited(...) { <...
- fstat(...) != 0
+ true
...> }
