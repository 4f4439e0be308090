DROP FUNCTION parley_admit(text, text, text, bigint), parley_count(text, bigint), parley_room(text, bigint);
DROP TABLE tenant_sessions, auth_state, tenants, api_keys;
DROP FUNCTION parley_auth_changed();
