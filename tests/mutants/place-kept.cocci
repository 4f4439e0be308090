// What: A closed connection no longer counts against the size of the pool.
// Test: faults test_postgres.Backends.test_terminated_each_500_ms
// In: src/db/db_pool.c

@@ typedef uint64_t; expression db, opening, extra; @@
may_open(...) { <...
- db_pool_open_count(db) + opening >= most_open(db) + extra
+ db->slot && atomic_load(&db->slot->db_opened) >= (uint64_t)db->max
...> }
