// What: A JSON string holds valid UTF-8.
// Test: fuzz json_validator
// In: src/json/validator.c

@@ expression s, end; @@
read_token(...) { <...
- s->bad_utf8 < end
+ false
...> }
