# What: A list reads sessions one by one, and not all of them to sort them.
# Test: service session/plans
# In: src/session/sql/sql_user.c
s/'enable_sort', 'off'/'enable_sort', 'on'/
