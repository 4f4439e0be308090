-- What each write paid for without need. Measured on an append: the foreign key 45 of 250 us of PostgreSQL's
-- time, the CHECK constraints 20, since PostgreSQL reads their text anew for each statement.
--
-- A message's session cannot be missing: the statement that inserts it has inserted or updated the session's row,
-- and holds it until its commit. What deletes sessions takes that row first (FOR UPDATE), so it comes before or
-- after such a statement and never between. For a session that is deleted by hand the trigger does what the key's
-- CASCADE did.

ALTER TABLE messages DROP CONSTRAINT messages_tenant_generation_fkey;

CREATE FUNCTION parley_session_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM messages WHERE tenant = OLD.tenant AND generation = OLD.generation;
    RETURN NULL;
END
$$;
CREATE TRIGGER gone AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION parley_session_gone();

-- What the constraints said is said by the policies, whose expressions are part of each plan. They are forced, so
-- that they hold for the owner, too.
ALTER TABLE sessions DROP CONSTRAINT sessions_tenant_check, DROP CONSTRAINT sessions_ttl_seconds_check;
ALTER TABLE messages DROP CONSTRAINT messages_seq_check, DROP CONSTRAINT messages_check;

ALTER POLICY tenant ON sessions
    WITH CHECK (tenant = current_setting('parley.tenant') AND tenant <> '' AND ttl_seconds > 0);
ALTER POLICY tenant ON messages
    WITH CHECK (tenant = current_setting('parley.tenant') AND seq > 0
        AND (type <> 'message' OR (role IS NOT NULL AND content IS NOT NULL)));
