// What: a removal takes the value away
// Test: unit cache/memory_table
// Test: unit cache/cache
// In: src/cache/memory_table.c

@@ expression at; @@
memory_remove(...) { <...
- at == MEMORY_ENTRIES
+ true
...> }
