DROP FUNCTION parley_search_waiting;
ALTER TABLE search_queue DROP COLUMN queued_at;
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('parley_search_step'::regproc), ', build, queued_at)::search_queue', ', build)::search_queue');
END
$$;
