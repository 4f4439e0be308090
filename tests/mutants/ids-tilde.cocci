// What: No client can name a tombstone of the release before.
// Test: unit api/native_request
// In: src/api/common/body.c

@@ expression id, valid; @@
api_session_id_valid(...) { <...
- valid && id.p[0] != '~'
+ valid
...> }
