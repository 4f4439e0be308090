// What: The queue reads every reply of Redis.
// Test: service cache/redis_queue
// In: src/cache/redis_queue.c

@@ identifier i, reply; expression conn, until; @@
send_on(...) { <...
  redisReply *reply;
+ if (!i->next && i != round->items)
+     break;
  if (!cache_conn_reply(conn, until, &reply)) return false;
  i->accepted = ...;
...> }
