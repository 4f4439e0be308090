// What: A lost connection retires those that are in use at that moment, too.
// Test: service db pool
// In: src/db/db_pool_open.c

@@ expression busy; @@
db_pool_retire(...) { <...
- busy->retire_us = 0
+ busy->retire_us -= busy->retire_us < 0
...> }
