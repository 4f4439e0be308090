-- What all hosts agree on about Redis (src/cache/redis_host.c): one row, of no tenant.
--
-- It begins with a number of this moment, so that what a Redis may hold from before a database was
-- made anew is of another epoch.

CREATE TABLE cache_state (
    only_row   boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch      bigint      NOT NULL,
    held_until timestamptz NOT NULL DEFAULT '-infinity',  -- until then no host uses Redis for reads
    dirty      boolean     NOT NULL DEFAULT true          -- held since the epoch was raised
);
INSERT INTO cache_state (epoch) VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint);

DO $$
BEGIN
    EXECUTE format('GRANT SELECT, UPDATE ON cache_state TO %I', current_setting('parley.role'));
END
$$;
