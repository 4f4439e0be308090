// What: A worker that has served is replaced at once, however often it dies.
// Test: unit server/respawn
// In: src/server/worker_table.c

@@ identifier served; expression e; @@
respawn_after_death(...) { <...
- served || e
+ (served && false) || e
...> }
