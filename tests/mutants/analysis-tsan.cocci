// What: The list of connections is changed only under its lock.
// Test: analysis tsan
// In: src/fcgi/connection.c

@@ @@
unlist_conn(...) { <...
(
- pthread_mutex_lock(...);
|
- pthread_mutex_unlock(...);
)
...> }
