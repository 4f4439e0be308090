// What: What was read ahead for a request is used for that request.
// Test: unit fcgi/gather
// In: src/fcgi/server.c

@@ identifier jobs, n; expression i; @@
read_ahead(..., struct fcgi_job *jobs, size_t n) { <...
- &jobs[i].req
+ &jobs[n - 1 - i].req
...> }
