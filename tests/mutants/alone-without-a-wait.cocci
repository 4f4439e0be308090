// What: A host that starts beside a host that is alone accepts writes after 2 s.
// Test: unit hosts
// Test: faults test_alone.SecondHost
// In: src/db/hosts_shared.c

@@ expression wait, now_us; @@
hosts_apply(...) { <...
- wait ? now_us + HOSTS_WAIT_US : now_us
+ wait ? now_us : now_us
...> }
