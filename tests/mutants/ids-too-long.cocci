// What: No session id is longer than what the release before has room for.
// Test: unit api/native_request
// In: src/api/common/body.c

@@ @@
api_session_id_valid(...) { <...
- SESSION_ID_CLIENT_MAX
+ SESSION_ID_MAX
...> }
