/* SPDX-License-Identifier: MIT */
/* The SQL on idempotency keys. */
#include "sql_fragments.h"

/* clang-format off */
static const struct db_stmt key_read = {
    "key_read",
    "SELECT k.fingerprint = $3 AS matches, k.status, k.session_id, k.generation, k.version,"
    " k.state_version, k.first_seq, k.last_seq, k.message_count, k.at AS updated_at,"
    " k.expires_at, k.session_at AS created_at, k.mark, k.state_mark,"
    " 0::bigint AS mark_before, k.state FROM idempotency_keys k WHERE k.tenant = $1 AND k.key = $2"
    " AND k.created_at > now() - interval '24 hours'"};

static const struct db_stmt key_expire = {
    "key_expire",
    "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2"
    " AND created_at <= now() - interval '24 hours'"};
/* clang-format on */

enum err sql_key_read(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(w->precondition->key),
                                 db_bytes(w->precondition->fingerprint)};
    struct db_call calls[] = {{&key_expire, p, 2, {0}}, {&key_read, p, 3, {0}}};
    const struct db_rows *rows = &calls[1].rows;
    /* To delete a key that no longer counts changes no answer: safe to repeat. */
    TRY(db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL));
    w->key_expired = calls[0].rows.count > 0;
    if (rows->count == 0)
        return ERR_NOT_FOUND;
    if (!db_get_bool(rows, 0, db_column(rows, "matches")))
        return ctx_fail(ctx, ERR_KEY_REUSED, NULL, "Idempotency-Key",
                        "This key was used before, for another request.");
    w->state = db_get_text(rows, 0, db_column(rows, "state"));
    struct session_receipt *r = w->receipt;
    sql_receipt_from_row(rows, 0, r);
    r->session_id = db_get_text(rows, 0, db_column(rows, "session_id"));
    r->first_seq = db_get_i64(rows, 0, db_column(rows, "first_seq"));
    r->status = (int)db_get_i64(rows, 0, db_column(rows, "status"));
    r->created = r->status == 201;
    r->replayed = true;
    return ERR_NONE;
}
