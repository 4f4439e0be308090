# What: A read decides whether its host is alone before it looks into memory.
# Test: service session/alone
# In: src/session/freshness.c
s/r\.found\.current && alone/r.found.current \&\& db_hosts_is_alone(s->settings.hosts)/
