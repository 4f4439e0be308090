// What: PostgreSQL's clock decides whether a session has expired.
// Test: faults ParleyClock.test_expiry
// In: src/db/db_open.c

@@ expression ahead_us; @@
db_now_us(...) { <...
- clock_mono_us() + ahead_us
+ clock_wall_us()
...> }
