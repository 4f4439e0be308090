# What: The version that a batch answers is that of the row that it changed, not of the statement's snapshot.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/s.version - s.steps + a.step AS version/(SELECT z.version FROM sessions z WHERE z.tenant = $1 AND z.generation = a.generation) + a.step AS version/
