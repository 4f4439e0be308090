// What: A client that goes away in its body leaves its place to others.
// Test: faults test_bodies.Bodies.test_1
// In: src/fcgi/request_reader.c

@@ expression arena, b; @@
reserve_body_memory(...) { <...
- arena_defer(arena, release_body_memory, b) == ERR_NONE
+ release_body_memory != NULL
...> }
