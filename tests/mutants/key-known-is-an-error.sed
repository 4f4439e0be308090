# What: A known key is no ERROR in PostgreSQL's log.
# Test: service session/batches
# In: src/session/sql/sql_fragments.h
/^#define SQL_KEY_IS_NEW/,/[^\\]$/ s/now() - interval/now() + interval/
