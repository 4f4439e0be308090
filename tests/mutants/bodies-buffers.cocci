// What: A connection whose buffers grew is closed.
// Test: faults test_bodies.Bodies.test_5
// In: src/db/db_acquire.c

@@ expression c; @@
db_pool_release(...) { <...
- c->buffered <= DB_BUFFERED_MAX
+ true
...> }
