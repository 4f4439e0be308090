-- min_compatible: 16
-- If the owner of the tables sets parley.all_tenants to on, it reads the rows of all tenants. So pg_dump as this login
-- writes a complete backup (docs/operate/backup.md). Without the setting, row-level security binds it as before. A
-- function of the owner that another login calls still reads one tenant, because pg_has_role checks session_user.
DO $$
DECLARE
    its text;
BEGIN
    FOREACH its IN ARRAY '{sessions,messages,summaries,user_states,idempotency_keys,tenant_sessions}'::text[] LOOP
        EXECUTE format('CREATE POLICY owner ON %I FOR SELECT TO CURRENT_USER'
            ' USING (current_setting(''parley.all_tenants'', true) = ''on'' AND (SELECT pg_has_role(session_user, current_user, ''USAGE'')))',
            its);
    END LOOP;
END
$$;
