// What: One transaction stores the messages of an append and its idempotency key.
// Test: faults test_commit.CommitCut.test_every_write
// In: src/session/sql/sql_message.c

@@ identifier s, ctx, w; expression params, call; @@
+ static const struct db_stmt key_apart = {
+     "key_apart",
+     "INSERT INTO idempotency_keys (tenant, key, fingerprint, status, session_id, generation, version, state_version, first_seq, last_seq, message_count, at, expires_at, session_at, state) SELECT $1, $3, $4, 201, $2, s.generation, s.version, s.state_version, $5, s.last_seq, s.message_count, s.updated_at, s.expires_at, s.created_at, NULL FROM sessions s WHERE s.tenant = $1 AND s.session_id = $2"};
+
  enum err sql_message_append(struct sessions *s, struct request_ctx *ctx, struct session_write *w) { <+...
- TRY(append_call(s, ctx, w, params, call));
+ const struct session_precondition *whole = w->precondition;
+ struct session_precondition keyless = *whole;
+ keyless.key = SV_NONE;
+ struct session_receipt unused;
+ struct session_write stored = {.precondition = whole, .receipt = &unused};
+ const enum err found = whole->key.p ? sql_key_read(s, ctx, &stored) : ERR_NOT_FOUND;
+ if (found == ERR_NONE)
+     return ctx_fail(ctx, ERR_CONFLICT, "key_taken", "Idempotency-Key", "used before");
+ if (found != ERR_NOT_FOUND)
+     return found;
+ w->precondition = &keyless;
+ const enum err bound = append_call(s, ctx, w, params, call);
+ w->precondition = whole;
+ TRY(bound);
...+> }

@@ identifier s, ctx, w; expression made; @@
  sql_message_append(struct sessions *s, struct request_ctx *ctx, struct session_write *w) { <+...
  w->receipt->created = made;
+ const struct db_param p_key[] = {db_text(ctx->tenant), db_text(w->id), db_text(whole->key),
+                                  db_bytes(whole->fingerprint), db_i64(w->receipt->first_seq)};
+ if (w->done && whole->key.p)
+     TRY(db_query(s->db, ctx, DB_WRITE, &key_apart, p_key, ARRAY_LEN(p_key), NULL, NULL));
...+> }
