// What: A removal takes the value out of the table.
// Test: unit cache/memory_table
// Test: unit cache/cache
// In: src/cache/memory_table.c

@@ expression at; @@
memory_remove(...) { <...
- at < MEMORY_ENTRIES
+ false
...> }
