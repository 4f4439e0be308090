# What: An erasure finds the sessions of a user that are being imported.
# Test: service session/import
# In: src/session/sql/sql_fragments.h
s/#define SQL_CAN_BE_ERASED(id) .*/#define SQL_CAN_BE_ERASED(id) " (NOT" SQL_IS_TOMBSTONE(id) ") "/
