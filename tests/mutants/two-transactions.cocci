// What: One transaction stores a session and its first messages.
// Test: faults test_workers.KillsOfMany.test_one_worker_each_200_ms
// In: src/session/session_write.c

@@ expression list before; @@
+ static enum err insert_in_two(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
+ {
+     const struct session_precondition *precondition = w->precondition;
+     const struct session_precondition nobody = {.create_only = false};
+     const struct session_draft *whole = w->draft;
+     struct session_draft empty = *whole;
+     empty.n_messages = 0;
+     w->draft = &empty;
+     enum err e = sql_session_insert(s, ctx, w);
+     w->draft = whole;
+     if (e != ERR_NONE || !w->done || whole->n_messages == 0)
+         return e;
+     const struct session_append append = {.messages = whole->messages,
+                                           .n_messages = whole->n_messages};
+     w->append = &append;
+     w->precondition = &nobody;
+     e = sql_message_append(s, ctx, w);
+     w->precondition = precondition;
+     w->receipt->created = true;
+     return e;
+ }
+
  session_create(...) { <+...
- session_write_idempotent(before, sql_write_batched)
+ session_write_idempotent(before, insert_in_two)
...+> }
