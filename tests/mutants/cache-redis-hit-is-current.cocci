// What: what Redis has is never called current
// Test: service cache/redis_values
// In: src/cache/cache.c

@@ expression out, nothing; @@
cache_find(...) { <...
- *out = nothing;
...> }
