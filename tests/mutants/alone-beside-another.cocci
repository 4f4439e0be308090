// What: The shortcut is off while another host is registered.
// Test: unit hosts
// Test: faults test_alone.SecondHost
// Test: faults test_alone.Stopped.test_one_of_two
// In: src/db/hosts_shared.c

@@ expression f; @@
obstacle_to_shortcut(...) { <...
- f->others > 0
+ false
...> }
