# What: A hit is shown if the message as it is matches.
# Test: faults test_search
# In: src/db/migrations/021_search.up.sql
s/^            EXIT hit WHEN NOT to_tsvector(config, parley_search_split(content)) @@ its;$//
