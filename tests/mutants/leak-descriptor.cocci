// What: A closed connection leaves no descriptor open.
// Test: faults Soak
// In: src/fcgi/connection.c

@@ expression fcgx; @@
fcgi_conn_close(...) { <...
- FCGX_Free(fcgx, 1)
+ FCGX_Free(fcgx, 0)
...> }
