// What: a wait that cannot be, because the clock was set, is as unknown as none
// Test: faults NginxClock
// In: src/fcgi/params.c

@@ expression possible, us; @@
queued_us(...) { <...
- possible ? us : 0
+ us
...> }
