CREATE OR REPLACE FUNCTION parley_session_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM messages WHERE tenant = OLD.tenant AND generation = OLD.generation;
    RETURN NULL;
END
$$;
DROP TABLE summaries;
