# What: The record of a member has the first message of its window.
# Test: service session/batch_members
# In: src/session/sql/sql_batch.c
s/UPDATE idempotency_keys k SET state = f.first::text/UPDATE idempotency_keys k SET state = NULL/
