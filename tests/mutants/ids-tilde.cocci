// What: No client can name a tombstone of this release.
// Test: unit api/native_request
// In: src/api/common/body.c

@@ expression id, valid, fits; @@
api_session_id_valid(...) { <...
- valid && fits && id.p[0] != '~'
+ valid && fits
...> }
