// What: a cursor belongs to its owner alone
// Test: fuzz cursor
// In: src/http/cursor.c

@@ expression h; identifier owner; @@
check_of(...) { <...
- add(h, owner.p, owner.n);
+ (void)owner;
...> }
