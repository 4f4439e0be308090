# What: A search by values works on a projection of contexts that jsonb does not take.
# Test: service session/search
# In: src/session/sql/sql_search.c
s/^#define SQL_JSON .*/#define SQL_JSON "s.context::jsonb"/
s/^#define SQL_CAREFUL .*/#define SQL_CAREFUL "parley_jsonb(s.context)"/
