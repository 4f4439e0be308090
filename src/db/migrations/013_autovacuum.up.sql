-- min_compatible: 12
-- Autovacuum of the tables that grow. docs/internals/performance-scale.md has the figures, measured with 10^7
-- messages.
--
-- messages: rows are only added, and deleted in the order of their age. The default, a fifth of the table, is
-- 2 * 10^7 dead rows with 10^8. PostgreSQL 16 and older hold 1.1 * 10^7 in the default maintenance_work_mem (64 MB),
-- and read the whole index once more for each 1.1 * 10^7 beyond. A value below 0.02 gains nothing: if fewer than 2 %
-- of the pages have dead rows, a vacuum leaves the indexes alone. The same value for inserted rows lets a vacuum visit
-- their pages while a cache still has them.
--
-- A vacuum that cuts empty pages off the end takes ACCESS EXCLUSIVE for that, which standbys replay: they cancel
-- their readers, and commits that wait for remote_apply wait as well. Empty pages are filled again. So the three
-- tables keep them.
--
-- Not set, for these reasons:
-- - sessions' scale factor (0.2): updates are HOT and their old rows go when the next update needs the space. Until
--   then they count as dead, 7 % of the rows at any time. With less than 0.1 vacuums would run without a pause and find
--   nothing. A step of the sweeper passes 10^5 dead index entries in 0.4 ms.
-- - idempotency_keys' scale factor (0.2): all rows are replaced each day, so it is vacuumed five times a day.
-- - the cost limit: 6 % dead of 10^7 messages took 14 s within the default limit, so it is minutes with 10^8, some
--   times a day. A table with a limit of its own is left out of the balance between vacuums.
-- - freezing at once: messages that live for days are gone before a vacuum has to freeze them.
-- - hosts, tenant_sessions: a few rows whose updates are HOT, on pages with room.
--
-- The trigger on sessions stays: the release before needs it for a message that is committed while the sweeper
-- looks at an expired session.

-- Writes do not wait for this kind of lock, so it may be waited for. After 1 s an autovacuum of the table gives way.
SET LOCAL lock_timeout = '5s';

ALTER TABLE messages SET (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    vacuum_truncate = off);
ALTER TABLE sessions SET (vacuum_truncate = off);
ALTER TABLE idempotency_keys SET (vacuum_truncate = off);
