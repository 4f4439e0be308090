# What: a session is live only if PostgreSQL says so
# Test: faults PostgresClock.test_2
# In: src/session/repository_read.c
/^#define SQL_STAMP_OF(/,/[^\\]$/ s/ AND expires_at > now()//
