# What: The deletion of a tenant finds the tombstones of this release.
# Test: service session/tombstones
# In: src/session/sql/sql_sweep.c
s/^    TOMBSTONES("session_id < ' '")/    TOMBSTONES("session_id < ''")/
