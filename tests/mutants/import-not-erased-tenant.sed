# What: The deletion of a tenant finds the sessions that are being imported.
# Test: service session/import
# In: src/session/sql/sql_sweep.c
s/(session_id >= ' ' OR" SQL_IS_HIDDEN("session_id") ")"/(session_id >= ' ')"/
