-- min_compatible: 12
-- The session and the seq from which a session was forked, as JSON text. NULL: it was not forked.
ALTER TABLE sessions ADD COLUMN forked_from text;
