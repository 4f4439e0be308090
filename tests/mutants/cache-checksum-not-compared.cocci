// What: A read compares the checksum of a value from Redis.
// Test: unit cache/cache_codec
// Test: service cache/redis_values
// Test: fuzz cache_codec
// In: src/cache/cache_codec.c

@@ @@
cache_codec_decode(...) { <...
- sum != hash_bytes(...)
+ false
...> }
