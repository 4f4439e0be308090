# What: The deletion of a tenant finds tombstones.
# Test: service session/tombstones
# In: src/session/sql/sql_sweep.c
s/AND session_id < ' '"/AND session_id < ''"/
