-- min_compatible: 16
-- For the metrics: how many messages wait for the index of search, and for how long. Rows that wait already count from now.
SELECT set_config('search_path', format('%I, pg_temp', current_schema()), true);
SET LOCAL lock_timeout = '5s';
LOCK TABLE search_queue IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';
ALTER TABLE search_queue ADD COLUMN queued_at timestamptz NOT NULL DEFAULT now();

-- The function makes rows of search_queue, so it needs the new column. The rest of it stays as it is.
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('parley_search_step'::regproc), ', build)::search_queue', ', build, queued_at)::search_queue');
END
$$;

-- Counts only the first 10,000 rows, so that a longer queue does not cost more, and not those that search build has queued.
-- The serving role may not read the queue, and the result shows nothing of a single tenant.
CREATE FUNCTION parley_search_waiting(OUT messages bigint, OUT seconds bigint) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT SET client_min_messages = error AS $$
    SELECT coalesce(sum(last_seq - first_seq + 1), 0)::bigint, coalesce(greatest(extract(epoch FROM now() - min(queued_at)), 0), 0)::bigint
        FROM (SELECT * FROM search_queue WHERE NOT build ORDER BY build, id LIMIT 10000) q
$$;
REVOKE ALL ON FUNCTION parley_search_waiting FROM PUBLIC;
