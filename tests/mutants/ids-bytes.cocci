// What: Ids have no control characters, with which tombstones begin.
// Test: unit api/native_request
// In: src/api/common/body.c

@@ expression c; @@
api_user_valid(...) { <...
- c < 0x20
+ c == 0
...> }
