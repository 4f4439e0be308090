-- Stamps, and generations that the program makes. It needs a stop of all hosts: an older parley makes sessions
-- with the sequence, and keeps its caches fresh by the record that goes here.
--
-- mark: random bits of the last write, so that one version number of two timelines (a failover that lost commits,
-- a restored backup) is two stamps. state_mark: of the last write that was not an append. mark_before: what mark
-- was before the last write, for a writer that has a cached value of that moment.

ALTER TABLE sessions
    ADD COLUMN mark        bigint NOT NULL DEFAULT 0,
    ADD COLUMN state_mark  bigint NOT NULL DEFAULT 0,
    ADD COLUMN mark_before bigint NOT NULL DEFAULT 0,
    ALTER COLUMN generation DROP DEFAULT;
ALTER TABLE idempotency_keys
    ADD COLUMN mark       bigint NOT NULL DEFAULT 0,
    ADD COLUMN state_mark bigint NOT NULL DEFAULT 0;
DROP SEQUENCE session_generation;
DROP TABLE cache_state;

-- Searches in the order of creation: that of the generations is only roughly so.
CREATE INDEX sessions_created ON sessions (tenant, created_at, generation);
