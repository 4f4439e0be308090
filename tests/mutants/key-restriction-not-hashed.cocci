// What: The hash of a restricted key covers its restrictions: whoever changes the row does not widen it.
// Test: unit auth/key
// Test: service auth keys
// In: src/auth/key.c

@@ expression read_only, more; @@
key_hash(...) { <...
- if (read_only || more > 0)
+ if (false)
  { ... } else { ... }
...> }
