// What: OpenAI's clients do not repeat a write whose outcome is unknown and that has no key.
// Test: faults test_commit.CommitCut.test_every_write
// In: src/api/openai/openai_routes.c

@@ expression req; @@
may_repeat(...) { <...
- http_header_get(req, ...).p != NULL
+ req->body.n < SIZE_MAX
...> }
