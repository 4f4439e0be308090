# What: The deletion of a tenant finds sessions of any id.
# Test: service session/tombstones
# In: src/session/sql/sql_sweep.c
s/(session_id >= ' ' OR/((session_id >= ' ' AND session_id < E'\\\\177') OR/
