// What: A token has one algorithm, whatever its header says.
// Test: unit auth/token
// In: src/auth/token.c

@@ expression alg, rest; @@
credential_parse(...) { <...
- sv_eq(alg, SV("EdDSA")) && rest
+ rest
...> }
