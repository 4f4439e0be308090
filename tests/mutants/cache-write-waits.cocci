// What: No write waits for Redis.
// Test: faults test_redis.Writes
// In: src/session/freshness.c

@@ expression cache, snapshot, in_doubt; identifier ctx, w; @@
fresh_write_end(..., struct request_ctx *ctx, struct fresh_write *w, ...) { <...
  cache_raise_epoch(cache, snapshot, in_doubt);
+ struct cache_found found;
+ (void)cache_find(cache, ctx, w->key, snapshot, true, &found);
...> }
