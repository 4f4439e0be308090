# What: An edit locks the session before it changes messages.
# Test: service session/write_load
# In: src/session/sql/sql_update.c
s/ FOR NO KEY UPDATE SKIP LOCKED),"/),"/
