-- All rights of the serving role, also on what a migration adds. Skips tables that do not exist in
-- this version of the schema. "parley migrate" runs it at its end, with the role in parley.role.
DO $$
DECLARE
  serves text := current_setting('parley.role');
  g record;
BEGIN
  FOR g IN SELECT * FROM (VALUES
    ('sessions', 'SELECT, INSERT, UPDATE, DELETE'),
    ('messages', 'SELECT, INSERT, UPDATE, DELETE'),
    ('idempotency_keys', 'SELECT, INSERT, UPDATE, DELETE'),
    ('summaries', 'SELECT, INSERT, UPDATE, DELETE'),
    ('user_states', 'SELECT, INSERT, UPDATE, DELETE'),
    ('tenant_sessions', 'SELECT, INSERT, UPDATE'),
    ('hosts', 'SELECT, INSERT, UPDATE, DELETE'),
    ('api_keys', 'SELECT'),
    ('tenants', 'SELECT'),
    ('auth_state', 'SELECT'),
    ('search_queue', 'INSERT'),
    ('parley_schema', 'SELECT')) may (name, rights)
  WHERE to_regclass(name) IS NOT NULL LOOP
    EXECUTE format('GRANT %s ON %I TO %I', g.rights, g.name, serves);
  END LOOP;
  IF EXISTS (SELECT FROM pg_attribute
      WHERE attrelid = to_regclass('api_keys') AND attname = 'last_used_at' AND NOT attisdropped) THEN
    EXECUTE format('GRANT UPDATE (last_used_at) ON api_keys TO %I', serves);
  END IF;
  IF to_regproc('parley_search') IS NOT NULL THEN
    EXECUTE format('GRANT EXECUTE ON FUNCTION parley_search, parley_search_step TO %I', serves);
    EXECUTE format('GRANT SELECT (complete) ON search_state TO %I', serves);
  END IF;
  IF to_regproc('parley_search_waiting') IS NOT NULL THEN
    EXECUTE format('GRANT EXECUTE ON FUNCTION parley_search_waiting TO %I', serves);
  END IF;
  IF NOT has_schema_privilege(serves, current_schema(), 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), serves);
  END IF;
END $$;
