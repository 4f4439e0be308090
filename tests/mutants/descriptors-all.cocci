// What: The limit of connections from nginx leaves descriptors for the handlers.
// Test: faults test_2_more_clients
// In: src/server/worker.c

@@ @@
start_servers(...) { <...
- descriptors_for_nginx(...)
+ 0
...> }
