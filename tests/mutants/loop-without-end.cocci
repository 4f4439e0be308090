// What: A crash loop is over one minute after its last death.
// Test: unit server/respawn
// In: src/server/worker_table.c

@@ expression now, last, minute; @@
respawn_is_looping(...) { <...
- now - last < minute
+ true
...> }
