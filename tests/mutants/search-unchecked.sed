# What: A hit is shown only if the message as it is now matches.
# Test: faults test_search
# In: src/db/migrations/021_search.up.sql
s/^            IF to_tsvector(config::regconfig, .* @@ .* THEN$/            IF true THEN/
