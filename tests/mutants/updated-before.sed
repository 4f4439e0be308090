# What: The time of a change never goes back within a session.
# Test: faults PostgresClock.test_1
# Test: faults MachineClock.test_jumps
# In: src/session/sql/sql_fragments.h
/^#define SQL_STAMP(/,/[^\\]$/ s/greatest(statement_timestamp(), s.updated_at)/statement_timestamp()/
