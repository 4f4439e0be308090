-- Keys, the bounds of tenants, and the function that keeps the one on open sessions.
--
-- These three tables are without row-level security: a key is looked up to find out whose request it is,
-- so there is no tenant yet, and every worker holds all keys in memory. What protects them is that the role
-- that serves may only read them, and that they hold no key: a SHA-256 of 32 random bytes cannot be guessed
-- back, so it needs no slow hash.

CREATE TABLE api_keys (
    id         text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    tenant     text COLLATE "C" NOT NULL CHECK (tenant ~ '^[A-Za-z0-9._-]{1,64}$'),
    name       text        NOT NULL DEFAULT '',
    hash       bytea       NOT NULL CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

-- NULL: as PARLEY_TENANT_REQUESTS and PARLEY_TENANT_SESSIONS say; 0: no bound.
CREATE TABLE tenants (
    tenant              text COLLATE "C" PRIMARY KEY CHECK (tenant ~ '^[A-Za-z0-9._-]{1,64}$'),
    requests_per_second bigint CHECK (requests_per_second BETWEEN 0 AND 1000000),
    sessions_max        bigint CHECK (sessions_max BETWEEN 0 AND 1000000000)
);

-- One row, whose version is another one after each change of the two, also after one made by hand.
-- Workers ask for it. At least the time in us, so that a restored backup never comes back to a
-- version that a worker may hold. Changes wait for each other at this row: versions are committed
-- in their order.
CREATE TABLE auth_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint  NOT NULL
);
INSERT INTO auth_state (version) VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

CREATE FUNCTION parley_auth_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE auth_state
        SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    RETURN NULL;
END
$$;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION parley_auth_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants
    FOR EACH STATEMENT EXECUTE FUNCTION parley_auth_changed();

-- Goes ahead of a statement that may create a session, in its transaction, where the tenant has a bound.
-- Nothing to say against it if the session is there, since then none is made, or if the idempotency key is,
-- since then the answer is an old one. Else whoever creates for this tenant waits for the one before until
-- that has committed; each query of a volatile function sees what was committed before it began.
CREATE FUNCTION parley_admit(whose text, id text, idem text, most bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    FOR looked IN 0..1 LOOP
        IF EXISTS (SELECT FROM sessions WHERE tenant = whose AND session_id = id AND expires_at > now())
            OR EXISTS (SELECT FROM idempotency_keys WHERE tenant = whose AND key = idem) THEN
            RETURN;
        END IF;
        IF looked = 0 THEN
            PERFORM pg_advisory_xact_lock(1349676628, hashtext(whose));
        END IF;
    END LOOP;
    IF (SELECT count(*) FROM (SELECT FROM sessions WHERE tenant = whose AND expires_at > now() LIMIT most) live)
        >= most THEN
        RAISE EXCEPTION 'the tenant has % open sessions', most USING ERRCODE = 'PL429';
    END IF;
END
$$;

DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON api_keys, tenants, auth_state TO %I', current_setting('parley.role'));
END
$$;
