DROP INDEX sessions_created;
CREATE TABLE cache_state (
    only_row   boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch      bigint      NOT NULL,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    dirty      boolean     NOT NULL DEFAULT true
);
INSERT INTO cache_state (epoch) VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint);

-- Above all generations that are there, which are looked at as those of all tenants.
ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY;
CREATE SEQUENCE session_generation AS bigint;
SELECT setval('session_generation', coalesce(max(generation), 1)) FROM sessions;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE sessions
    ALTER COLUMN generation SET DEFAULT nextval('session_generation'),
    DROP COLUMN mark, DROP COLUMN state_mark, DROP COLUMN mark_before;
ALTER TABLE idempotency_keys DROP COLUMN mark, DROP COLUMN state_mark;

DO $$
BEGIN
    EXECUTE format('GRANT SELECT, UPDATE ON cache_state TO %I', current_setting('parley.role'));
    EXECUTE format('GRANT USAGE ON SEQUENCE session_generation TO %I', current_setting('parley.role'));
END
$$;
