// What: A worker that drains serves the idle connections that nginx keeps to it.
// Test: faults test_reload.Reload.test_no_request_fails
// Test: faults test_reload.Recycling
// In: src/fcgi/server.c

@@ expression s; @@
fcgi_server_drain(...) { <...
  fcgi_listener_close(s, true);
+ atomic_store(&s->stopping, true);
...> }
