# What: A truncation that removes something is a change of the state.
# Test: service session/stamps
# In: src/session/sql/sql_update.c
s/SQL_STAMP_STATE_IF("\$7", "c\.removed > 0")/SQL_STAMP("$7")/
