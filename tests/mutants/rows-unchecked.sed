# What: The schema refuses invalid rows.
# Test: service session/schema
# In: src/db/migrations/007_hot_writes.up.sql
/^ALTER POLICY /,/;$/d
