# What: A transaction through a pooler is refused by a server of a lower timeline.
# Test: hosts test_pgbouncer.OtherServers
# In: src/db/db_pipeline.c
s/ >= $4)::int/ >= 0 * $4)::int/
