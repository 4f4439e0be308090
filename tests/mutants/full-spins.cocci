// What: A server that has no room for a connection does not watch the listener.
// Test: faults test_3_who_waits
// In: src/fcgi/server.c

@@ expression s; @@
fcgi_listener_watch(...) { <...
- s->n_conns >= s->settings.connections
+ false
...> }
