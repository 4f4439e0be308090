# What: A list that has read as many sessions as a page may read says that there may be more.
# Test: service session/plans
# In: src/session/sql/sql_user.c
s/ seen = \$8::bigint OR / /
