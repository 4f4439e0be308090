DO $$
DECLARE
    its text;
BEGIN
    FOREACH its IN ARRAY '{sessions,messages,summaries,user_states,idempotency_keys,tenant_sessions}'::text[] LOOP
        EXECUTE format('DROP POLICY owner ON %I', its);
    END LOOP;
END
$$;
