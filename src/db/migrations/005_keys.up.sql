-- Keys, the bounds of tenants, and what keeps the one on open sessions.
--
-- The first three tables are without row-level security: a key is looked up to find out whose request it is,
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

-- What is known of how many open sessions a tenant with a bound has. They become more by creates that pass
-- parley_admit alone, so the last count and the creates since then are an upper bound of them. Creates
-- change this row and no index: their updates are HOT as long as the page has room.
CREATE TABLE tenant_sessions (
    at_most    bigint      NOT NULL,
    counted    bigint      NOT NULL,                   -- sessions that the last count has looked at
    counted_at timestamptz NOT NULL,
    tenant     text COLLATE "C" PRIMARY KEY CHECK (tenant <> '')
) WITH (fillfactor = 20);

ALTER TABLE tenant_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenant_sessions
    USING (tenant = current_setting('parley.tenant'))
    WITH CHECK (tenant = current_setting('parley.tenant'));

-- Whether one more session may be; NULL where that has to be counted first. Room is believed for 30 s, in case
-- sessions came by another way, or while there was no bound. That there is none is believed for 10 us for
-- each session that was counted, at least 100 ms: counting costs less than a tenth of that, so a tenant
-- that stands at its bound cannot keep PostgreSQL counting. Sessions that end give their room back then.
CREATE FUNCTION parley_room(whose text, most bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT at_most < most FROM tenant_sessions WHERE tenant = whose
        AND clock_timestamp() - counted_at BETWEEN interval '0' AND interval '1 second'
            * CASE WHEN at_most < most THEN 30 ELSE least(30, greatest(0.1, counted * 0.00001)) END);
END
$$;

-- Goes ahead of a statement that may create a session, in its transaction, where the tenant has a bound.
-- Nothing to say against it if the session is there, since then none is made, or if the idempotency key is,
-- since then the answer is an old one. Who is refused waits for nobody. Else whoever creates for this tenant
-- waits for the one before until that has committed; each query of a volatile function sees what was
-- committed before it began. Who waits holds a connection that others want, hence the short lock_timeout.
-- PL428: parley_count, in a transaction of its own since this one ends here, and then again.
CREATE FUNCTION parley_admit(whose text, id text, idem text, most bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET lock_timeout = '250ms' AS $$
DECLARE
    room boolean;
BEGIN
    FOR looked IN 0..1 LOOP
        room := parley_room(whose, most);
        IF EXISTS (SELECT FROM sessions WHERE tenant = whose AND session_id = id AND expires_at > now())
            OR EXISTS (SELECT FROM idempotency_keys WHERE tenant = whose AND key = idem) THEN
            RETURN;
        END IF;
        IF room IS NULL THEN
            RAISE EXCEPTION 'the open sessions of the tenant have to be counted' USING ERRCODE = 'PL428';
        ELSIF NOT room THEN
            RAISE EXCEPTION 'the tenant has % open sessions', most USING ERRCODE = 'PL429';
        END IF;
        IF looked = 0 THEN
            PERFORM pg_advisory_xact_lock(1349676628, hashtext(whose));
        END IF;
    END LOOP;
    UPDATE tenant_sessions SET at_most = at_most + 1 WHERE tenant = whose;
END
$$;

-- Counts, unless somebody did so just before, with no create under way. Beyond the bound it does not go on:
-- then any number is possible, and stays so if the bound is raised. The time is that of the end, or a
-- long count would be too old at once.
CREATE FUNCTION parley_count(whose text, most bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET lock_timeout = '250ms' AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(1349676628, hashtext(whose));
    IF parley_room(whose, most) IS NOT NULL THEN
        RETURN;
    END IF;
    n := (SELECT count(*) FROM (SELECT FROM sessions WHERE tenant = whose AND expires_at > now()
        LIMIT most + 1) live);
    INSERT INTO tenant_sessions (tenant, at_most, counted, counted_at)
        VALUES (whose, CASE WHEN n > most THEN 9223372036854775807 ELSE n END, n, clock_timestamp())
        ON CONFLICT (tenant) DO UPDATE
            SET (at_most, counted, counted_at) = (excluded.at_most, excluded.counted, excluded.counted_at);
END
$$;

DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON api_keys, tenants, auth_state TO %I', current_setting('parley.role'));
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON tenant_sessions TO %I', current_setting('parley.role'));
END
$$;
