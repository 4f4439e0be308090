// What: a body is read to its end
// Test: fuzz fcgi
// In: src/fcgi/exchange.c

@@ @@
read_body(...) { <...
- FCGX_GetChar(...) == EOF
+ true
...> }
