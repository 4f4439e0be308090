# What: The numbers of a batch follow those of the locked row, not those of the statement's snapshot.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/last_seq = s.last_seq + EXCLUDED.last_seq,/last_seq = (SELECT y.last_seq FROM sessions y WHERE y.tenant = $1 AND y.generation = s.generation) + EXCLUDED.last_seq,/
