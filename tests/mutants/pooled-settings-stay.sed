# What: What a transaction sets through a pooler ends with it.
# Test: hosts test_pgbouncer.Settings
# In: src/db/db_pipeline.c
s/DB_SETTINGS("true")/DB_SETTINGS("false")/
