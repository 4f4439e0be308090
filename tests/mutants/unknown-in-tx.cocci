// What: a COMMIT whose answer is lost is told as one that was not done
// Test: service service db tx
// In: src/db/db_tx.c

@@ expression kind; @@
commit(...) { <...
- kind == FAULT_LOST || kind == FAULT_TIMEOUT
+ kind == FAULT_TIMEOUT
...> }
