// What: the tenant and the id of a value are compared
// Test: unit cache/cache_codec
// Test: service cache/redis_values
// Test: fuzz cache_codec
// In: src/cache/cache_codec.c

@@ @@
cache_codec_decode(...) { <...
- !sv_eq(...)
+ false
...> }
