# What: PostgreSQL decides whether a session has expired.
# Test: faults PostgresClock.test_2
# In: src/session/sql/sql_session.c
/^#define SQL_STAMP_OF(/,/[^\\]$/ s/ AND expires_at > now()//
