// What: A merge patch removes nulls inside an object that it adds.
// Test: fuzz merge_patch
// In: src/json/merge.c

@@ expression way, over; @@
write_value(...) { <...
- way == WAY_PATCH && is_object(over)
+ way == WAY_PATCH && is_object(over) && is_object(was)
...> }
