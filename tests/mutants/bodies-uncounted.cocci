// What: Large bodies of a worker have PARLEY_BODY_MEMORY together.
// Test: faults test_bodies.Bodies.test_1
// In: src/fcgi/request_reader.c

@@ typedef int64_t; expression held, b, s; @@
reserve_body_memory(...) { <...
- held + b->bytes > (int64_t)s->body_memory
+ false
...> }
