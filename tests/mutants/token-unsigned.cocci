// What: A token counts only with a good signature of its key.
// Test: service auth keys
// In: src/auth/auth.c

@@ expression list signed_by; @@
is_proven(...) { <...
- crypto_sign_verify_detached(signed_by) == 0
+ crypto_sign_verify_detached(signed_by) <= 0
...> }
