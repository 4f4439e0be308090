// What: A poll that a signal interrupts is repeated.
// Test: faults test_fault_injection.OfPostgres.test_in_parts
// In: src/base/net.c

@@ @@
net_wait(...) { <...
- errno == EINTR
+ false
...> }
