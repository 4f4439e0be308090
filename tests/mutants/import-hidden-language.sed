# What: An imported session gets its language with its id, so that search indexes its messages.
# Test: service session/import
# In: src/session/sql/sql_import.c
s/language = CASE WHEN $5 IS NULL THEN language ELSE $6 END,/language = CASE WHEN $5 IS NULL THEN language ELSE left($6, 0) END,/
