# What: Each member of a batch is answered when the batch is on the disk.
# Test: faults test_postgres.Server.test_killed
# In: src/session/sql/sql_batch.c
s/ SELECT \* FROM r"$/ SELECT r.*, set_config('synchronous_commit', 'off', true) FROM r"/
s/ SELECT \* FROM r"};/ SELECT r.*, set_config('synchronous_commit', 'off', true) FROM r"};/
