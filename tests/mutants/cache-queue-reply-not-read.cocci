// What: The queue reads every reply of Redis.
// Test: service cache/redis_queue
// In: src/cache/redis_conn.c

@@ identifier reply, good, i; expression list args, more; expression commands; @@
cache_conn_run(...) { <...
+ if (i > 0 && i + 1 == n)
+     break;
  redisReply *reply = next_reply(args);
  if (!reply) return false;
  const bool good = take_reply(&commands[i], more);
...> }
