# What: Nobody sees a tombstone.
# Test: service session/tombstones
# In: src/session/sql/sql_fragments.h
/^#define SQL_IS_TOMBSTONE(/ s/" SQL_DELETED "/~/
