# What: Tombstones of the release before are tombstones, too.
# Test: service session/tombstones
# In: src/session/sql/sql_fragments.h
/^#define SQL_IS_TOMBSTONE(/ s/'~', //
