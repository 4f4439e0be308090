// What: A client that announces a large body and does not send it has no memory.
// Test: faults test_bodies.Bodies.test_2
// In: src/fcgi/request_reader.c

@@ expression at; @@
read_body(...) { <...
- at == BODY_SMALL
+ at == BODY_PIECE
...> }
