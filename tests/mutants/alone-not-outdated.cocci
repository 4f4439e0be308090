// What: Before a host is alone again, all values in its memory become out of date.
// Test: unit hosts
// Test: faults test_failover.BackupAlone
// In: src/db/hosts_shared.c

@@ @@
update_shortcut(...) { <...
- hosts_alone_at(...)
+ true
...> }
