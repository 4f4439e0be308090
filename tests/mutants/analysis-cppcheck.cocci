// What: An answer is sent in no more parts than the array has room for.
// Test: analysis cppcheck
// In: src/fcgi/respond.c

@@ expression header; @@
send_output(...) { <...
  header = header_of(FCGI_STDOUT, ...);
+ iov[4] = iov_of(&header, 0);
...> }
