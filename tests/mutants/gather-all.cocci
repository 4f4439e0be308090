// What: Only the requests that the settings name are gathered.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ expression job; @@
gather(...) { <...
- job.gather
+ job.first == FIRST_GOOD
...> }
