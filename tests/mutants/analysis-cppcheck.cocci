// What: An answer is sent in no more parts than the array has room for.
// Test: analysis cppcheck
// In: src/fcgi/respond.c

@@ expression header; @@
send_output(...) { <...
  make_header(&header, FCGI_STDOUT, ...);
+ iov[4] = iov_of(&header, 0);
...> }
