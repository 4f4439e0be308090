# What: Each transaction through a pooler sets its tenant.
# Test: hosts test_pgbouncer.TwoTenants.test
# In: src/db/db_pipeline.c
s/set_config('parley.tenant', $1, true)/set_config('parley.tenant', coalesce(nullif(current_setting('parley.tenant', true), ''), $1), false)/
