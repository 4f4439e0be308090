DROP FUNCTION parley_jsonb(text);
