// What: The pool waits one second at most between attempts to connect.
// Test: faults test_postgres.Server.test_killed
// Test: faults test_postgres.Server.test_stopped
// In: src/db/db_acquire.c

@@ identifier ms; expression bounded; @@
back_off(...) { <...
- ms = bounded;
+ ms = 20000;
...> }
