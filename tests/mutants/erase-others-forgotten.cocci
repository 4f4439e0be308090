// What: the caches of other hosts are not cleared by an erasure
// Test: faults test_erase.Second
// In: src/session/session_user.c

@@ @@
clear_caches(...) { <...
- db_hosts_others(...) > 0
+ false
...> }
