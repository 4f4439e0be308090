// What: A body is read up to the record that ends it.
// Test: fuzz fcgi
// In: src/fcgi/request_reader.c

@@ @@
read_body(...) { <...
- FCGX_GetChar(...) == EOF
+ true
...> }
