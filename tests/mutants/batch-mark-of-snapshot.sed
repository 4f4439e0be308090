# What: The mark before a batch is that of the locked row, not that of the statement's snapshot.
# Test: service session batch_rules
# In: src/session/sql/sql_batch.c
s/coalesce(lag(i.mark) OVER w, l.mark_there)/coalesce(lag(i.mark) OVER w, (SELECT y.mark FROM sessions y WHERE y.tenant = $1 AND y.generation = l.generation))/
