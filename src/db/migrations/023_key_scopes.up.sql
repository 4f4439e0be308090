-- min_compatible: 16
-- Restrictions of a key: to reading (scope), or to one user (user_id). The hash of a restricted key covers them, so
-- that a program that does not know them does not accept the key. A signing key signs tokens and is not a bearer key:
-- in place of a hash it has its public key.
ALTER TABLE api_keys
    ADD COLUMN scope   text NOT NULL DEFAULT 'write' CHECK (scope IN ('read', 'write')),
    ADD COLUMN user_id text COLLATE "C" CHECK (octet_length(user_id) BETWEEN 1 AND 256),
    ADD COLUMN signing boolean NOT NULL DEFAULT false;

DROP TRIGGER changed ON api_keys;
CREATE TRIGGER changed AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF id, tenant, name, hash, created_at, expires_at, revoked_at, scope, user_id, signing ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION parley_auth_changed();
