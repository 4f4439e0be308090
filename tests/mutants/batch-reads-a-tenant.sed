# What: A batch finds its sessions by their keys, in any plan of a large schema.
# Test: service session/plans
# In: src/session/sql/sql_batch.c
s/ AND s.session_id BETWEEN " id " AND " id/ AND s.session_id || '' = " id/
