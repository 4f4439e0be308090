// What: A read notes the epoch before it asks PostgreSQL.
// Test: service session/alone
// In: src/session/freshness.c

@@ expression s, ctx, r, out; @@
read_checked(...) { <...
+ r->snapshot = cache_snapshot(s->cache, r->key);
  store_read(s, ctx, r, true, out);
...> }
