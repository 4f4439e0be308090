# What: A summary is stored only if the state is still the one that was checked.
# Test: faults test_branches.Branches.test_everything_at_once
# In: src/session/sql/sql_update.c
/^#define SQL_CHANGE_STATE/,/RETURNING/ s/AND s.state_version = \$9 AND s.state_mark = \$10 /AND $9::bigint > 0 AND $10::bigint IS NOT NULL /
