# What: The newest messages that a member returns keep the bound on their bytes.
# Test: service session/batch_members
# In: src/session/sql/sql_batch.c
s/SQL_NEWEST("q.most", "$6")/SQL_NEWEST("q.most", "1000000 + $6")/
