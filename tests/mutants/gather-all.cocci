// What: Only the requests that the settings name are gathered.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ expression turn; @@
gather(...) { <...
- turn.peek.gather
+ turn.peek.first == FIRST_GOOD
...> }
