// What: A body that has memory arrives in PARLEY_REQUEST_MS.
// Test: faults test_bodies.Bodies.test_3
// In: src/fcgi/request_reader.c

@@ expression end; @@
read_body(...) { <...
- deadline_passed(end)
+ (end.at_us < 0)
...> }
