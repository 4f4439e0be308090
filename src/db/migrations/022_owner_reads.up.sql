-- min_compatible: 16
-- The login that owns the tables reads the rows of all tenants if it sets parley.all_tenants to on. So pg_dump as this
-- login writes a whole backup (docs/operate/backup.md). Without the setting, row-level security binds it as before. A
-- function of the owner that another login calls still reads one tenant: pg_has_role asks for the login itself.
DO $$
DECLARE
    its text;
BEGIN
    FOREACH its IN ARRAY '{sessions,messages,summaries,user_states,idempotency_keys,tenant_sessions}'::text[] LOOP
        EXECUTE format('CREATE POLICY owner ON %I FOR SELECT TO CURRENT_USER'
            ' USING (current_setting(''parley.all_tenants'', true) = ''on'' AND pg_has_role(session_user, current_user, ''USAGE''))',
            its);
    END LOOP;
END
$$;
