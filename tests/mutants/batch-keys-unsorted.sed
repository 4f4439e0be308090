# What: A batch inserts its keys in the order of the keys.
# Test: service session/write_load
# In: src/session/sql/sql_batch.c
s/ WHERE key IS NOT NULL ORDER BY key)/ WHERE key IS NOT NULL ORDER BY mark)/
