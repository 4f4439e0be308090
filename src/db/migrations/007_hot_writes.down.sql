ALTER POLICY tenant ON messages WITH CHECK (tenant = current_setting('parley.tenant'));
ALTER POLICY tenant ON sessions WITH CHECK (tenant = current_setting('parley.tenant'));
DROP TRIGGER gone ON sessions;
DROP FUNCTION parley_session_gone();
-- The rows that are there are looked at as those of all tenants.
ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE messages NO FORCE ROW LEVEL SECURITY;
ALTER TABLE messages ADD CONSTRAINT messages_seq_check CHECK (seq > 0),
    ADD CONSTRAINT messages_check CHECK (type <> 'message' OR (role IS NOT NULL AND content IS NOT NULL));
ALTER TABLE sessions ADD CONSTRAINT sessions_tenant_check CHECK (tenant <> ''),
    ADD CONSTRAINT sessions_ttl_seconds_check CHECK (ttl_seconds > 0);
ALTER TABLE messages ADD CONSTRAINT messages_tenant_generation_fkey
    FOREIGN KEY (tenant, generation) REFERENCES sessions (tenant, generation) ON DELETE CASCADE;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
