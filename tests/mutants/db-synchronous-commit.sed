# What: Commits are synchronous, whatever the server's configuration says.
# Test: service db check
# In: src/db/db_internal.h
s/IN ('off', 'local') THEN 'on'/IN ('none') THEN 'on'/
