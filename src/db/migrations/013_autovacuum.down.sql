SET LOCAL lock_timeout = '5s';

ALTER TABLE messages RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor, vacuum_truncate);
ALTER TABLE sessions RESET (vacuum_truncate);
ALTER TABLE idempotency_keys RESET (vacuum_truncate);
