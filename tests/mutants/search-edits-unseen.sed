# What: An edit queues its message.
# Test: faults test_search
# In: src/db/migrations/021_search.up.sql
s/AFTER UPDATE ON messages REFERENCING NEW TABLE/AFTER INSERT ON messages REFERENCING NEW TABLE/
