-- What is kept as text is checked before it is stored, and jsonb takes it. Should there be a value that it does
-- not take all the same (of an older parley, or written by hand), it is NULL here, so that it is found by no search
-- and can be replaced: else one such value is a fault in every search of its tenant. A subtransaction for each row,
-- and so not to be used where many are read but for a second try.
CREATE FUNCTION parley_jsonb(value text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN value::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;
