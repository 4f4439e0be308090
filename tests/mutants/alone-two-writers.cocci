// What: of two writers it is not known which one has committed last
// Test: service session/alone
// In: src/cache/cache.c

@@ expression was, snapshot; @@
cache_note_write(...) { <...
- was == snapshot->epoch
+ true
...> }
