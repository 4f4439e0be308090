-- min_compatible: 16
-- How much waits for the index of search, and for how long, for the metrics. For rows that wait already the time begins now.
SELECT set_config('search_path', format('%I, pg_temp', current_schema()), true);
SET LOCAL lock_timeout = '5s';
LOCK TABLE search_queue IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';
ALTER TABLE search_queue ADD COLUMN queued_at timestamptz NOT NULL DEFAULT now();

-- It makes rows of the table. All else in it stays.
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('parley_search_step'::regproc), ', build)::search_queue', ', build, queued_at)::search_queue');
END
$$;

-- Of the first 10,000 ranges that were written since search is on: a longer queue must not cost more. The serving role may not
-- read the queue; this tells it nothing of a tenant.
CREATE FUNCTION parley_search_waiting(OUT messages bigint, OUT seconds bigint) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT SET client_min_messages = error AS $$
    SELECT coalesce(sum(last_seq - first_seq + 1), 0)::bigint, coalesce(greatest(extract(epoch FROM now() - min(queued_at)), 0), 0)::bigint
        FROM (SELECT * FROM search_queue WHERE NOT build ORDER BY build, id LIMIT 10000) q
$$;
REVOKE ALL ON FUNCTION parley_search_waiting FROM PUBLIC;
