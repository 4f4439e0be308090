// What: A merge patch removes nulls inside an object that it adds.
// Test: fuzz merge_patch
// In: src/json/merge.c

@@ expression mode, new; @@
write_value(...) { <...
- mode == JSON_MERGE_PATCH && is_object(new)
+ mode == JSON_MERGE_PATCH && is_object(new) && is_object(old)
...> }
