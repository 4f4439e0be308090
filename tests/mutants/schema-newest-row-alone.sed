# What: No migration of a newer schema may need a newer program, not only the last one.
# Test: service db check
# In: src/db/db_internal.h
s/"coalesce(max(coalesce(\((to_jsonb(s) ->> 'min_compatible')::int\), version)), 0)"/"coalesce((array_agg(coalesce(\1, version) ORDER BY version DESC))[1], 0)"/
