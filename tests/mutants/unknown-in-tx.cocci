// What: A COMMIT that was sent and not answered has an unknown outcome.
// Test: service db tx
// In: src/db/db_tx.c

@@ expression kind; @@
commit(...) { <...
- kind == FAULT_LOST || kind == FAULT_TIMEOUT
+ kind == FAULT_TIMEOUT
...> }
