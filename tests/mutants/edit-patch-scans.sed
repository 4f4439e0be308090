# What: A patch of a message reads this message alone, whatever statistics there are.
# Test: service session/plans
# In: src/session/sql/sql_update.c
s/AND m\.seq = \$11),"/AND m.seq + 0 = $11),"/
