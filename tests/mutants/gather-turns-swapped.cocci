// What: What was read ahead for a request is used for that request.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ identifier turns, n; expression i; @@
read_ahead(..., struct fcgi_turn *turns, size_t n) { <...
- &turns[i].req
+ &turns[n - 1 - i].req
...> }
