-- min_compatible: 12
-- What stands in a window for a session's messages up to last_seq. The one with the highest last_seq counts. None is
-- above the highest seq that the session still has: what removes messages removes such summaries, too.
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
-- They go with their session, as its messages do.
CREATE OR REPLACE FUNCTION parley_session_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM messages WHERE tenant = OLD.tenant AND generation = OLD.generation;
    DELETE FROM summaries WHERE tenant = OLD.tenant AND generation = OLD.generation;
    RETURN NULL;
END
$$;
