// What: the pause between attempts to connect is a second at most
// Test: faults test_postgres.Server.test_killed
// Test: faults test_postgres.Server.test_stopped
// In: src/db/db_pool.c

@@ identifier ms; expression bounded; @@
back_off(...) { <...
- ms = bounded;
+ ms = 60000;
...> }
