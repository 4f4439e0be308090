# What: The sweeper deletes idempotency keys that are a day old.
# Test: faults Soak
# In: src/session/sql/sql_sweep.c
/^static const struct db_stmt sweep_keys/,/;$/ s/24 hours/48 hours/
