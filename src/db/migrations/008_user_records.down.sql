DROP INDEX idempotency_keys_user;
ALTER TABLE idempotency_keys DROP COLUMN user_id;
