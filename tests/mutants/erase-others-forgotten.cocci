// What: An erasure does not report the caches of other hosts as cleared.
// Test: faults test_erase.Second
// In: src/session/session_user.c

@@ @@
clear_caches(...) { <...
- db_hosts_others(...) > 0
+ false
...> }
