// What: OpenAI's clients are not told to leave alone what may be done
// Test: faults test_commit.CommitCut.test_every_write
// In: src/api/openai_routes.c

@@ expression req; @@
may_repeat(...) { <...
- http_header_get(req, ...).p != NULL
+ req->body.n < SIZE_MAX
...> }
