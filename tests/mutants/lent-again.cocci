// What: A lost connection retires those that are in use at that moment, too.
// Test: service db pool
// In: src/db/db_pool.c

@@ expression conn; @@
db_pool_retire(...) { <...
- conn->retire_us = 0
+ conn->retire_us = conn->state == CONN_BUSY ? conn->retire_us : 0
...> }
