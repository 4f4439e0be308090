// What: nginx's connections leave the descriptors that handlers need
// Test: faults test_2_more_clients
// In: src/proc/worker.c

@@ @@
start_servers(...) { <...
- descriptors_for_nginx(...)
+ 0
...> }
