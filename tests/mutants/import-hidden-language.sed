# What: An imported session gets its language with its id, so that search indexes its messages.
# Test: service session/import
# In: src/session/sql/sql_import.c
s/ELSE substr(language, 2) END,/ELSE language END,/
