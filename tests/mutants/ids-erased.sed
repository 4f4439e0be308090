# What: The idempotency records of an erased session go with it.
# Test: service session/tombstones
# In: src/session/sql/sql_fragments.h
/^#define SQL_IS_ERASED(/ s/" SQL_ERASED "/~~/
