# What: An erasure removes a session from the caches also if another worker has made its tombstone.
# Test: service session/tombstones
# In: src/session/sql/sql_fragments.h
/^#define SQL_OWN_ID(/ s/strpos(.*) + 1/2/
