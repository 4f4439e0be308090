// What: No id begins with ~ while hosts of the release before serve, which take it for a tombstone.
// Test: unit api/native_request
// In: src/api/common/body.c

@@ expression id, valid; @@
api_session_id_valid(...) { <...
- valid && id.p[0] != '~'
+ valid
...> }
