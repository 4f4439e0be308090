// What: Destroying an arena frees all of it.
// Test: analysis valgrind
// In: src/base/arena.c

@@ @@
arena_destroy(...) { <...
- free(...);
...> }
