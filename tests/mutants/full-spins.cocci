// What: A server that has no room for a connection does not poll the listener.
// Test: faults test_3_who_waits
// In: src/fcgi/connection.c

@@ expression s; @@
poll_listener(...) { <...
- s->n_conns >= s->settings.connections
+ false
...> }
