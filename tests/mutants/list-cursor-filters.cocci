// What: A cursor is valid for the filters of its list only.
// Test: unit api/native_cursor
// In: src/api/native/native_cursor.c

@@ expression q; @@
native_list_of(...) { <...
- q->metadata
+ SV_NONE
...> }
