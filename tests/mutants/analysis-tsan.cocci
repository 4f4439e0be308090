// What: the list of connections is changed under its lock alone
// Test: analysis tsan
// In: src/fcgi/connection.c

@@ @@
list_remove(...) { <...
(
- pthread_mutex_lock(...);
|
- pthread_mutex_unlock(...);
)
...> }
