# What: The number of a plain message in a batch is that of the row that the batch changed.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/SELECT $1, generation, last_seq, role, content,/SELECT $1, generation, (SELECT y.last_seq FROM sessions y WHERE y.tenant = $1 AND y.generation = r.generation) + 1, role, content,/
