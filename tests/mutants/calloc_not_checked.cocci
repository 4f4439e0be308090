// What: The server checks the allocation for a new connection.
// Test: faults test_fault_injection.OfPostgres.test_each_call_once
// Test: faults test_fault_injection.OfPostgres.test_all_calls_from_one_on
// In: src/fcgi/connection.c

@@ identifier c, fd; expression e; statement S; @@
accept_one(...) { <...
  struct fcgi_conn *c = fd >= 0 && e ? calloc(...) : NULL;
  if (
-     !c
+     fd < 0
  ) S
...> }
