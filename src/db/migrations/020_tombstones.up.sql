-- min_compatible: 16
-- Tombstones of programs of before migration 16, which cannot serve any more, begin with "~". They get the U+0001 of
-- all others. This takes no lock on the table: it sees the rows of all tenants as the sweeper does, and renames as each.
SELECT set_config('parley.tenant', '', true), set_config('parley.sweep', 'on', true);
DO $$
DECLARE its text;
BEGIN
    FOR its IN SELECT DISTINCT tenant FROM sessions WHERE session_id >= '~' AND session_id < E'\177'
        AND expiry_hour <= floor(date_part('epoch', now()) / 3600)::integer AND expires_at <= now() LOOP
        PERFORM set_config('parley.tenant', its, true);
        UPDATE sessions SET session_id = translate(left(session_id, 2), '~', E'\001') || substr(session_id, 3)
            WHERE tenant = its AND session_id >= '~' AND session_id < E'\177';
    END LOOP;
END $$;
