// What: With Sentinels a master that failed is forgotten, and the Sentinels are asked again.
// Test: hosts test_sentinel.Sentinels
// In: src/cache/redis_client.c

@@ expression r; @@
record(...) { <...
- r->at = (struct cache_endpoint){.host = ""};
+ r->at = r->at;
...> }
