# What: A batch does not wait for a session that is locked.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/" FOR NO KEY UPDATE SKIP LOCKED) s"/" FOR NO KEY UPDATE) s"/
