// What: A window and its summary are of one snapshot.
// Test: faults test_branches.Branches.test_everything_at_once
// In: src/session/sql/sql_window.c

@@ expression ctx, rows, limit, bytes, out, s, p, n; @@
sql_window_tail(...) {
<...
  TRY(db_query(s->db, ctx, DB_READ, &sql_window_stmt, p, n, &rows, NULL));
...
- return tail_from_rows(ctx, &rows, limit, bytes, out);
+ TRY(tail_from_rows(ctx, &rows, limit, bytes, out));
+ struct window_tail later = *out;
+ TRY(db_query(s->db, ctx, DB_READ, &sql_window_stmt, p, n, &rows, NULL));
+ TRY(tail_from_rows(ctx, &rows, limit, bytes, &later));
+ out->summary = later.summary;
+ return ERR_NONE;
...>
}
