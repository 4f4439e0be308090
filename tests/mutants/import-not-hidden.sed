# What: A session is hidden until its last message is imported.
# Test: service session/import
# In: src/session/sql/sql_import.c
s/" SELECT $1, generation, CASE WHEN whole = 1 THEN session_id ELSE E'" SQL_HIDDEN "' || generation || '~' || session_id END,"/" SELECT $1, generation, session_id,"/
