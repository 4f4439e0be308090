// What: A crash loop is over one minute after its last death.
// Test: unit server/respawn
// In: src/server/worker_table.c

@@ expression looping, until; @@
respawn_after_death(...) { <...
- looping ? until : 0
+ looping ? INT64_MAX : 0
...> }
