# What: A migration gives the tombstones of an older schema the form of this one.
# Test: service session/tombstones
# In: src/db/migrations/020_tombstones.up.sql
s/translate(left(session_id, 2)/translate(left(session_id, 1)/
s/substr(session_id, 3)/substr(session_id, 2)/
