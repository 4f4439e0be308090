# What: Appends of one session in a batch are numbered in the order of arrival.
# Test: service session/batches
# In: src/session/sql/sql_batch.c
s/(PARTITION BY i.session_id ORDER BY i.n)/(PARTITION BY i.session_id ORDER BY i.n DESC)/
