DROP FUNCTION parley_admit(text, text, text, bigint);
DROP TABLE auth_state, tenants, api_keys;
DROP FUNCTION parley_auth_changed();
