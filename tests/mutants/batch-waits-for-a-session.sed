# What: A batch does not wait for a session that is locked.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
/"append_batch",/,/"append_plain_batch",/ s/ FOR NO KEY UPDATE SKIP LOCKED/ FOR NO KEY UPDATE/
/"append_plain_batch",/,/"create_batch",/ s/ FOR NO KEY UPDATE SKIP LOCKED/ FOR NO KEY UPDATE/
