// What: A request ends with its own last record, not with that of another request.
// Test: unit fcgi
// In: src/fcgi/request_reader.c

@@ expression h, began; @@
is_whole(...) { <...
- h.version != began->version || h.requestIdB1 != began->requestIdB1 ||
- h.requestIdB0 != began->requestIdB0
+ began == NULL
...> }
