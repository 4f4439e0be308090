-- Sessions, their messages and idempotency keys.
--
-- The tenant is part of every key. Row-level security is the second lock: forced, so that it holds
-- for the owner too, and the role that serves owns nothing. current_setting() without missing_ok: a
-- statement that runs with no tenant set fails instead of seeing nothing.

CREATE SEQUENCE session_generation AS bigint;

-- The columns that an append changes stand side by side and none of them is indexed (expiry_hour
-- changes once an hour), so updates are HOT and their WAL is short.
CREATE TABLE sessions (
    version       bigint      NOT NULL DEFAULT 1,
    last_seq      bigint      NOT NULL DEFAULT 0,
    message_count bigint      NOT NULL DEFAULT 0,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    expiry_hour   integer     NOT NULL,
    sliding       boolean     NOT NULL DEFAULT true,
    state_version bigint      NOT NULL DEFAULT 1,
    ttl_seconds   bigint      NOT NULL CHECK (ttl_seconds > 0),
    generation    bigint      NOT NULL DEFAULT nextval('session_generation'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    tenant        text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    session_id    text COLLATE "C" NOT NULL,
    user_id       text COLLATE "C",
    language      text        NOT NULL DEFAULT 'en',
    context       text        NOT NULL DEFAULT '{}',   -- validated JSON text, kept as it was written
    metadata      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, session_id),
    UNIQUE (tenant, generation)
) WITH (fillfactor = 80);

CREATE INDEX sessions_of_user ON sessions (tenant, user_id, created_at DESC, generation DESC)
    WHERE user_id IS NOT NULL;
CREATE INDEX sessions_expiry ON sessions (expiry_hour);

-- Messages hang on the generation, not on the id: a session made again under the same id is
-- another one, and no message of the old one can attach to it. message_id is NULL unless the
-- client named the message: the id made from (generation, seq) then needs no index of its own.
CREATE TABLE messages (
    generation bigint      NOT NULL,
    seq        bigint      NOT NULL CHECK (seq > 0),
    created_at timestamptz NOT NULL,
    size       integer     NOT NULL,                   -- bytes of content and metadata as sent
    tenant     text COLLATE "C" NOT NULL,
    message_id text COLLATE "C",
    type       text        NOT NULL DEFAULT 'message',
    role       text,
    content    text,                                   -- validated JSON text
    metadata   jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, generation, seq),
    FOREIGN KEY (tenant, generation) REFERENCES sessions (tenant, generation) ON DELETE CASCADE,
    CHECK (type <> 'message' OR (role IS NOT NULL AND content IS NOT NULL))
);
CREATE UNIQUE INDEX messages_message_id ON messages (tenant, generation, message_id)
    WHERE message_id IS NOT NULL;

-- What a keyed request answered: enough to give the same answer again.
CREATE TABLE idempotency_keys (
    tenant        text COLLATE "C" NOT NULL,
    key           text COLLATE "C" NOT NULL,
    fingerprint   bytea       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    status        integer     NOT NULL,
    session_id    text COLLATE "C" NOT NULL,
    generation    bigint      NOT NULL,
    version       bigint      NOT NULL,
    state_version bigint      NOT NULL,
    first_seq     bigint      NOT NULL,
    last_seq      bigint      NOT NULL,
    message_count bigint      NOT NULL,
    at            timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    session_at    timestamptz NOT NULL,                -- when the session was created
    state         text,                                -- what a PATCH made of it, as JSON text
    PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON sessions
    USING (tenant = current_setting('parley.tenant'))
    WITH CHECK (tenant = current_setting('parley.tenant'));
CREATE POLICY tenant ON messages
    USING (tenant = current_setting('parley.tenant'))
    WITH CHECK (tenant = current_setting('parley.tenant'));
CREATE POLICY tenant ON idempotency_keys
    USING (tenant = current_setting('parley.tenant'))
    WITH CHECK (tenant = current_setting('parley.tenant'));

-- The sweeper looks across tenants, but only at what nobody can read any more, and only when it
-- says that it is the sweeper; it then deletes as the tenant that it found.
CREATE POLICY sweeper ON sessions FOR SELECT
    USING (expires_at <= now() AND current_setting('parley.sweep', true) = 'on');
CREATE POLICY sweeper ON idempotency_keys FOR SELECT
    USING (created_at <= now() - interval '24 hours' AND current_setting('parley.sweep', true) = 'on');

DO $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, messages, idempotency_keys TO %I',
                   current_setting('parley.role'));
    EXECUTE format('GRANT USAGE ON SEQUENCE session_generation TO %I', current_setting('parley.role'));
    EXECUTE format('GRANT SELECT ON parley_schema TO %I', current_setting('parley.role'));
END
$$;
