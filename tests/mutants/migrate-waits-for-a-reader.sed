# What: A migration gives up a lock that it does not get soon, so that writes do not wait behind it.
# Test: service db migrate
# In: src/db/db_migrate.c
s/^#define LOCK_WAIT ".*"$/#define LOCK_WAIT "0"/
