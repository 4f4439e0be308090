// What: the end of an arena gives back all of it
// Test: analysis valgrind
// In: src/base/arena.c

@@ @@
arena_destroy(...) { <...
- free(...);
...> }
