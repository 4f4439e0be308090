-- When a key was last used, to the hour. Workers write it, so the serving role gets this one column. It is no
-- change of a key: the version that makes workers load all keys again stays.
ALTER TABLE api_keys ADD COLUMN last_used_at timestamptz;

DROP TRIGGER changed ON api_keys;
CREATE TRIGGER changed AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF id, tenant, name, hash, created_at, expires_at, revoked_at ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION parley_auth_changed();
