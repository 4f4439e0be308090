// What: the epoch is noted before PostgreSQL is asked
// Test: service session/alone
// In: src/session/freshness.c

@@ expression s, ctx, r, out; @@
ask(...) { <...
+ r->snapshot = cache_snapshot(s->cache, r->key);
  keep(s, ctx, r, true, out);
...> }
