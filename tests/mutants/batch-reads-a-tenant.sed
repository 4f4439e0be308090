# What: A batch finds its sessions by their keys, in any plan of a large schema.
# Test: service session/plans
# In: src/session/sql/sql_batch.c
s/ AND s.session_id BETWEEN d.session_id AND d.session_id/ AND s.session_id || '' = d.session_id/
s/ AND s.generation = l.generation"/ AND s.generation + 0 = l.generation"/
