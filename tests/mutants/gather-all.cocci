// What: Only the requests that the settings name are gathered.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ expression job; @@
gather(...) { <...
- job.peek.gather
+ job.peek.first == FIRST_GOOD
...> }
