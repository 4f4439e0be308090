// What: A full disk of PostgreSQL is answered with 503: nothing was done.
// Test: faults FullTablespace
// Test: faults FullDisk
// In: src/db/db_sqlstate.c

// The class 53 of SQLSTATE has no line of its own in the table.
@@ @@
- "53"
+ "none"
