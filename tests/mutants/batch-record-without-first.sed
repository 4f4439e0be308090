# What: The record of a member has the first message of its window.
# Test: service session/batch_members
# In: src/session/sql/sql_batch.c
s/db_i64(c.number\[0\]\[i\])/db_i64(0)/
