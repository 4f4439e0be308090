# What: rows that cannot be are refused by the schema
# Test: service session/schema
# In: src/db/migrations/007_hot_writes.up.sql
/^ALTER POLICY /,/;$/d
