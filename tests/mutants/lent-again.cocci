// What: what was lent when another connection was lost is closed
// Test: service service db pool
// In: src/db/db_open.c

@@ expression busy; @@
db_pool_retire(...) { <...
- busy->retire_us = 0
+ busy->retire_us -= busy->retire_us < 0
...> }
