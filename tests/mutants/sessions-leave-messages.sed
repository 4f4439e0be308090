# What: The messages of a session are deleted with it, whoever deletes it.
# Test: service session/schema
# In: src/db/migrations/007_hot_writes.down.sql
# In: src/db/migrations/007_hot_writes.up.sql
/^DROP TRIGGER gone /d
/^CREATE TRIGGER gone /d
