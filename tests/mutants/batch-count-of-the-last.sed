# What: A member's receipt has the numbers of its own step, not those after the batch.
# Test: service session/batches
# Test: service session/write_load
# In: src/session/sql/sql_batch.c
s/s.message_count - z.upto + a.upto AS message_count/s.message_count AS message_count/
