# What: The time that an import gives an undated session does not decide whether the session is there.
# Test: service session/import
# In: src/session/sql/sql_import.c
s/x->created_at = db_now_us(s->db);/x->created_at = item->session.created_at = db_now_us(s->db);/
