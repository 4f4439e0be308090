// What: A host is not alone after another PostgreSQL has answered.
// Test: unit hosts
// Test: faults test_failover.StandbyAlone
// In: src/db/hosts_shared.c

@@ expression then, f; @@
obstacle_to_shortcut(...) { <...
- then != f->pg_started_us
+ false
...> }

@@ expression s, f; @@
update_shortcut(...) { <...
- atomic_load(&s->pg_started_us) != f->pg_started_us
+ atomic_load(&s->pg_started_us) == 0
...> }
