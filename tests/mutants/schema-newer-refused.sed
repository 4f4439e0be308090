# What: A program serves with a newer schema that supports it.
# Test: service db check
# In: src/db/db_check.c
s/have >= own && needs <= own/have == own/
