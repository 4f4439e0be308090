// What: a reader looks at the word of its stripe a second time
// Test: unit cache/memory_torn
// In: src/cache/memory_table.c

@@ expression s, before; @@
memory_find(...) { <...
- get(&s->word) == before
+ true
...> }
