# What: Tombstones of this release are tombstones.
# Test: service session/tombstones
# In: src/session/sql/sql_fragments.h
/^#define SQL_IS_TOMBSTONE(/ s/ IN (.*)/ IN ('~')/
