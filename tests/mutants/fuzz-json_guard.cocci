// What: A JSON string holds valid UTF-8.
// Test: fuzz json_guard
// In: src/json/doc.c

@@ expression s, end; @@
string_token(...) { <...
- s->bad_utf8 < end
+ false
...> }
