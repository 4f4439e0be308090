// What: A client that goes away in its body leaves its place to others.
// Test: faults test_bodies.Bodies.test_1
// In: src/fcgi/request_reader.c

@@ expression arena, b; @@
take_place(...) { <...
- arena_defer(arena, leave_place, b) == ERR_NONE
+ leave_place != NULL
...> }
