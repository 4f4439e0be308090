# What: An import adds no message to a session that was erased meanwhile.
# Test: service session/import
# In: src/session/sql/sql_import.c
s/SELECT 1 \/ count(\*) FROM u/SELECT count(*) FROM u/
