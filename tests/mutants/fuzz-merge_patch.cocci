// What: nulls inside a new object of a patch are not kept
// Test: fuzz merge_patch
// In: src/json/merge.c

@@ expression way, over; @@
write_value(...) { <...
- way == WAY_PATCH && is_object(over)
+ way == WAY_PATCH && is_object(over) && is_object(was)
...> }
