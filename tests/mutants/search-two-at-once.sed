# What: Only one step at a time indexes.
# Test: faults test_search
# In: src/db/migrations/021_search.up.sql
/CREATE FUNCTION parley_search_step(/,/^\$\$;/ s/ OR NOT pg_try_advisory_xact_lock(1349676629, 0) THEN/ THEN/
