# What: The number of a plain message in a batch is that of the row that the batch changed.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/SELECT $1, s.generation, s.last_seq, s.role/SELECT $1, s.generation, (SELECT z.last_seq FROM sessions z WHERE z.tenant = $1 AND z.generation = s.generation) + 1, s.role/
