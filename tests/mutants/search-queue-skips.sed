# What: A step removes only the rows of the queue that it has read.
# Test: faults test_search
# In: src/db/migrations/021_search.up.sql
s/DELETE FROM search_queue WHERE build = done_build AND id = ANY(.*$/DELETE FROM search_queue WHERE build = done_build AND id <= done_id + 20;/
