// What: The list of connections is changed only under its lock.
// Test: analysis tsan
// In: src/fcgi/connection.c

@@ @@
fcgi_conn_close(...) { <...
(
- pthread_mutex_lock(...);
|
- pthread_mutex_unlock(...);
)
...> }
