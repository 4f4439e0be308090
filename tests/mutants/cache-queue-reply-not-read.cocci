// What: The queue reads every reply of Redis.
// Test: service cache/redis_queue
// In: src/cache/redis_client.c

@@ identifier i, reply; expression commands; @@
conn_run(...) { <...
+ if (i > 0 && i + 1 == n)
+     break;
  redisReply *reply = next_reply(...);
  if (!reply) return false;
  commands[i].accepted = ...;
...> }
