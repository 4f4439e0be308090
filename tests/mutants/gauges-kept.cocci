// What: The gauges of a killed worker do not stay.
// Test: faults test_bodies.Bodies.test_4
// In: src/server/worker_table.c

@@ expression s, worker, i; @@
worker_table_reap(...) { <...
- metrics_set(&s->run.shared->slots[worker].gauges[i], 0);
...> }
