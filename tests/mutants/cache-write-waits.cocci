// What: no write waits for Redis
// Test: faults test_redis.Writes
// In: src/session/freshness.c

@@ expression cache, snapshot, in_doubt; identifier ctx, w; @@
fresh_write_end(..., struct request_ctx *ctx, struct fresh_write *w, ...) { <...
  cache_note_write(cache, snapshot, in_doubt);
+ const bool cleared = cache_erase(cache, ctx, &w->key, 1);
+ (void)cleared;
...> }
