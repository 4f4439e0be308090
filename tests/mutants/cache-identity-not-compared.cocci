// What: A read compares the tenant and the session id of a cached value.
// Test: unit cache/cache_codec
// Test: service cache/redis_values
// Test: fuzz cache_codec
// In: src/cache/cache_codec.c

@@ @@
cache_codec_decode(...) { <...
- !sv_eq(...)
+ false
...> }
