# What: a session is not changed before it was made, or changed last
# Test: faults PostgresClock.test_1
# Test: faults MachineClock.test_jumps
# In: src/session/repository.h
/^#define SQL_STAMP(/,/[^\\]$/ s/greatest(clock_timestamp(), s.updated_at)/clock_timestamp()/
