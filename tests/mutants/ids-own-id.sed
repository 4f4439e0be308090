# What: An erasure removes a session from the caches also if this release has made its tombstone.
# Test: service session/tombstones
# In: src/session/sql/sql_fragments.h
/^#define SQL_OWN_ID(/ s/\[.*\]{1,2}/~{1,2}/
