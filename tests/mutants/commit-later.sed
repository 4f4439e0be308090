# What: A commit is answered when it is on the disk.
# Test: faults test_postgres.Server.test_killed
# In: src/db/db_pipeline.c
/^#define LIMITS /,/^static/ s/, clock_timestamp()/&, set_config('synchronous_commit', 'off', true)/
