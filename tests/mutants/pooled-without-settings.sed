# What: Each transaction through a pooler has the settings of a connection.
# Test: hosts test_pgbouncer.Settings
# In: src/db/db_pipeline.c
s/set_config('synchronous_commit', $5, true), " DB_SETTINGS("true")/set_config('synchronous_commit', $5, true)"/
