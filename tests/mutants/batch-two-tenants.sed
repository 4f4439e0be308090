# What: A batch has one tenant.
# Test: service session/write_load
# In: src/db/db_batcher.c
/^static bool may_join/,/^}/ s/sv_eq(m->ctx->tenant, leader->tenant) && //
