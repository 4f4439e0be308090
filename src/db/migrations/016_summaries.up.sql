-- min_compatible: 12
-- The texts that windows have in place of a session's messages up to last_seq. The one with the highest last_seq is
-- current. None ends after the session's last message: a statement that removes messages removes such summaries, too.
CREATE TABLE summaries (
    generation bigint      NOT NULL,
    last_seq   bigint      NOT NULL CHECK (last_seq > 0),
    created_at timestamptz NOT NULL,
    tokens     integer,
    stale      boolean     NOT NULL DEFAULT false,     -- a message up to last_seq was changed since
    tenant     text COLLATE "C" NOT NULL,
    content    text        NOT NULL,                   -- validated JSON text
    PRIMARY KEY (tenant, generation, last_seq)
);
ALTER TABLE summaries ENABLE ROW LEVEL SECURITY;
ALTER TABLE summaries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON summaries
    USING (tenant = current_setting('parley.tenant'))
    WITH CHECK (tenant = current_setting('parley.tenant'));
-- They are deleted with their session, as its messages are.
CREATE OR REPLACE FUNCTION parley_session_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM messages WHERE tenant = OLD.tenant AND generation = OLD.generation;
    DELETE FROM summaries WHERE tenant = OLD.tenant AND generation = OLD.generation;
    RETURN NULL;
END
$$;
