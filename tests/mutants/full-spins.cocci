// What: while there is no room for a connection nobody looks at the listener
// Test: faults test_3_who_waits
// In: src/fcgi/server.c

@@ expression s; @@
fcgi_listener_watch(...) { <...
- s->n_conns >= s->settings.connections
+ false
...> }
