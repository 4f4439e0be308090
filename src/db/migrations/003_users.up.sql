-- What tells of a session goes with it: found by its generation when the session is erased or swept.
CREATE INDEX idempotency_keys_session ON idempotency_keys (tenant, generation);
