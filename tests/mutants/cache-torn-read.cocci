// What: A reader checks the word of its stripe again after it has copied the value.
// Test: unit cache/memory_torn
// In: src/cache/memory_table.c

@@ expression s, before; @@
memory_find(...) { <...
- get(&s->word) == before
+ true
...> }
