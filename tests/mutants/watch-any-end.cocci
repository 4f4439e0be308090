// What: the end of another request is not that of the one that is read
// Test: unit fcgi
// In: src/fcgi/exchange.c

@@ expression h, began; @@
is_whole(...) { <...
- h.version != began->version || h.requestIdB1 != began->requestIdB1 || h.requestIdB0 != began->requestIdB0
+ began == NULL
...> }
