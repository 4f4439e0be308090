# What: The version that a batch answers is that of the row that it changed, not of the statement's snapshot.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/s.version - z.step + a.step AS version/(SELECT y.version FROM sessions y WHERE y.tenant = $1 AND y.generation = a.generation) + a.step AS version/
