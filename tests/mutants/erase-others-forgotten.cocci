// What: An erasure does not report the caches of other hosts as cleared.
// Test: faults test_erase.Second
// In: src/session/session_user.c

@@ expression found; @@
clear_caches(...) { <...
- found.others > 0
+ false
...> }
