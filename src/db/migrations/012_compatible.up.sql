-- min_compatible: 12
-- The schema says which programs it supports. A program serves with a schema that is newer than the one it knows, if
-- no row of a migration needs a newer program. So the schema is migrated first, and then hosts are upgraded one by
-- one. The rows of earlier migrations hold NULL: only a program of their version serves with them.
ALTER TABLE parley_schema ADD COLUMN min_compatible integer;
