// What: A read notes the epoch before it asks PostgreSQL.
// Test: service session/alone
// In: src/session/freshness.c

@@ expression s, ctx, r, out; @@
ask(...) { <...
+ r->snapshot = cache_snapshot(s->cache, r->key);
  keep(s, ctx, r, true, out);
...> }
