// What: One that leads nobody runs its own statement.
// Test: service db batcher
// In: src/db/db_batcher.c

@@ identifier n; @@
lead(...) { <...
- n == 1
+ n == 0
...> }
