# What: Each transaction through a pooler has the settings of a connection.
# Test: hosts test_pgbouncer.Settings
# In: src/db/db_pipeline.c
s/ >= \$4)::int, " DB_SETTINGS("true");/ >= $4)::int";/
