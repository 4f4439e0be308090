# What: Each member of a batch is answered when the batch is on the disk.
# Test: faults test_postgres.Server.test_killed
# In: src/session/sql/sql_batch.c
s/ SELECT \* FROM r"$/ SELECT r.*, set_config('synchronous_commit', 'off', true) FROM r"/
s/s\.n, false AS superseded FROM s"/s.n, false AS superseded, set_config('synchronous_commit', 'off', true) FROM s"/
