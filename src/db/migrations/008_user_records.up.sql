-- Whatever belongs to a user is found by that user until its last byte is gone. What is remembered under an
-- idempotency key outlives its session, and a session may get another user: so it has a user of its own, the one
-- whose session it was after the change (NULL: nobody's).
ALTER TABLE idempotency_keys ADD COLUMN user_id text COLLATE "C";

-- The rows that are there are looked at as those of all tenants.
ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE messages NO FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys NO FORCE ROW LEVEL SECURITY;

-- Nobody is answered from these any more.
DELETE FROM idempotency_keys WHERE created_at <= now() - interval '24 hours';

-- Sessions whose id was taken anew after they had expired lost their user by that: no erasure would find them.
-- Nobody can read them. The trigger takes their messages.
DELETE FROM idempotency_keys k USING sessions s
    WHERE s.session_id ~ '^~[0-9]+$' AND k.tenant = s.tenant AND k.generation = s.generation;
DELETE FROM sessions WHERE session_id ~ '^~[0-9]+$';

-- What a PATCH made of a session says whose it was then.
UPDATE idempotency_keys k SET user_id = coalesce(parley_jsonb(k.state) ->> 'user_id', s.user_id)
    FROM sessions s WHERE s.tenant = k.tenant AND s.generation = k.generation;
CREATE INDEX idempotency_keys_user ON idempotency_keys (tenant, user_id) WHERE user_id IS NOT NULL;

ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
