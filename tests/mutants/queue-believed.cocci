// What: A negative or too long wait in the queue counts as unknown: the clock was set.
// Test: faults NginxClock
// In: src/fcgi/params.c

@@ expression possible, us; @@
queued_us(...) { <...
- possible ? us : 0
+ us
...> }
