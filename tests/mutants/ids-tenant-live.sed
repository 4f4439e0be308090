# What: The deletion of a tenant finds sessions whose ids sort after the tombstones.
# Test: service session/tombstones
# In: src/session/sql/sql_sweep.c
s/^    " b AS " NOT_TOMBSTONES("/&false AND /
