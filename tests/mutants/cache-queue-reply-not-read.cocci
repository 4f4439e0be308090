// What: The queue reads every reply of Redis.
// Test: service cache/redis_queue
// In: src/cache/redis_conn.c

@@ identifier i, reply; expression commands; @@
cache_conn_run(...) { <...
+ if (i > 0 && i + 1 == n)
+     break;
  redisReply *reply = next_reply(...);
  if (!reply) return false;
...> }
