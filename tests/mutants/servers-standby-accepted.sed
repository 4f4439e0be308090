# What: A server in recovery is not used.
# Test: hosts test_servers.Lists.test_standby
# In: src/db/db_servers.c
s/CASE WHEN NOT pg_is_in_recovery() THEN "/CASE WHEN pg_is_in_recovery() THEN 1 ELSE "/
