/* SPDX-License-Identifier: MIT */
/* The SQL on idempotency keys. */
#include "repository.h"

/* clang-format off */
static const struct db_stmt key_read = {
    "key_read",
    "SELECT k.fingerprint = $3 AS matches, k.status, k.session_id, k.generation, k.version,"
    " k.state_version, k.first_seq, k.last_seq, k.message_count, k.at AS updated_at,"
    " k.expires_at, k.session_at AS created_at, k.state"
    " FROM idempotency_keys k WHERE k.tenant = $1 AND k.key = $2"
    " AND k.created_at > now() - interval '24 hours'"};

static const struct db_stmt key_forget = {
    "key_forget",
    "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2"
    " AND created_at <= now() - interval '24 hours'"};
/* clang-format on */

enum err repo_key_read(struct sessions *s, struct request_ctx *ctx,
                       const struct session_guard *guard, struct stored_answer *out)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(guard->key),
                                 db_bytes(guard->fingerprint)};
    struct db_call calls[] = {{&key_forget, p, 2, {0}}, {&key_read, p, 3, {0}}};
    /* Forgetting an old key is no change that anybody could miss: safe to repeat. */
    enum err e = db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL);
    if (e != ERR_NONE)
        return e;
    const struct db_rows *rows = &calls[1].rows;
    *out = (struct stored_answer){.found = rows->count > 0};
    if (!out->found)
        return ERR_NONE;
    out->matches = db_get_bool(rows, 0, db_column(rows, "matches"));
    out->state = db_get_text(rows, 0, db_column(rows, "state"));
    struct session_receipt *r = &out->receipt;
    repo_receipt(db_get_text(rows, 0, db_column(rows, "session_id")), rows, r);
    r->first_seq = db_get_i64(rows, 0, db_column(rows, "first_seq"));
    r->status = (int)db_get_i64(rows, 0, db_column(rows, "status"));
    r->created = r->status == 201;
    r->replayed = true;
    return ERR_NONE;
}
