// What: Ids have no control characters, with which tombstones begin.
// Test: unit api/native_request
// In: src/base/sv.c

@@ expression c; @@
id_valid(...) { <...
- c < 0x20
+ c == 0
...> }
