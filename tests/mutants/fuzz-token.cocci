// What: A token may do no more than its key.
// Test: fuzz token
// In: src/auth/token.c

@@ expression read; @@
token_claims(...) { <...
- ctx->read_only = ctx->read_only || read;
+ ctx->read_only = read;
...> }
