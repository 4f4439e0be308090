-- The serving role stays: other databases of the server may use it.
DROP TABLE idempotency_keys;
DROP TABLE messages;
DROP TABLE sessions;
DROP SEQUENCE session_generation;
