-- min_compatible: 12
-- What a bot remembers of a person over all sessions: one JSON object for each user.
CREATE TABLE user_states (
    version     bigint      NOT NULL,
    mark        bigint      NOT NULL,                  -- random bits of the last write
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    expires_at  timestamptz,                           -- NULL: never
    ttl_seconds bigint      CHECK (ttl_seconds > 0),
    tenant      text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    state       text        NOT NULL,                  -- validated JSON text, kept as it was written
    PRIMARY KEY (tenant, user_id)
);
CREATE INDEX user_states_expiry ON user_states (expires_at) WHERE expires_at IS NOT NULL;
ALTER TABLE user_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_states FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON user_states
    USING (tenant = current_setting('parley.tenant'))
    WITH CHECK (tenant = current_setting('parley.tenant'));
-- As for sessions: the sweeper looks across tenants at what nobody can read any more.
CREATE POLICY sweeper ON user_states FOR SELECT
    USING (expires_at <= now() AND current_setting('parley.sweep', true) = 'on');
