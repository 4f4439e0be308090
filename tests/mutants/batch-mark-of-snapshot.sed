# What: The mark before a batch is that of the locked row, not that of the statement's snapshot.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/coalesce(lag(i.mark) OVER w, l.mark_before)/coalesce(lag(i.mark) OVER w, (SELECT z.mark FROM sessions z WHERE z.tenant = $1 AND z.generation = l.generation))/
