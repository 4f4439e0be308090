# What: The numbers of a batch follow those of the locked row, not those of the statement's snapshot.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/last_seq = s.last_seq + a.upto,/last_seq = (SELECT z.last_seq FROM sessions z WHERE z.tenant = $1 AND z.generation = a.generation) + a.upto,/
