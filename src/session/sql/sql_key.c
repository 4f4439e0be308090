/* SPDX-License-Identifier: MIT */
/* The SQL on idempotency keys. */
#include "sql_fragments.h"

/* clang-format off */
#define SQL_ANSWER                                                                                 \
    " k.fingerprint = $3 AS matches, k.status, k.session_id, k.generation, k.version,"             \
    " k.state_version, k.first_seq, k.last_seq, k.message_count, k.at AS updated_at,"              \
    " k.expires_at, k.session_at AS created_at, k.mark, k.state_mark,"                       \
    " 0::bigint AS mark_before, k.state "

static const struct db_stmt key_read = {
    "key_read",
    "SELECT" SQL_ANSWER "FROM idempotency_keys k WHERE k.tenant = $1 AND k.key = $2"
    " AND k.created_at > now() - interval '24 hours'"};

static const struct db_stmt key_forget = {
    "key_forget",
    "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2"
    " AND created_at <= now() - interval '24 hours'"};
/* $2: what the keys of requests that look alike begin with; $4: which repetition asks. A commit
 * answers a repetition once, and only while nothing has changed the session since. */
static const struct db_stmt key_guess = {
    "key_guess",
    "WITH g AS (SELECT k.key FROM idempotency_keys k JOIN sessions s ON s.tenant = k.tenant"
    " AND s.generation = k.generation AND s.version = k.version AND s.mark = k.mark"
    " WHERE k.tenant = $1 AND k.key >= $2 AND k.key < $2 || '~'"
    " AND split_part(k.key, ' ', 3)::bigint < $4 AND k.created_at > now() - interval '1 minute'"
    " ORDER BY k.created_at DESC LIMIT 1 FOR UPDATE OF k SKIP LOCKED)"
    " UPDATE idempotency_keys k SET key = $2 || $4 || ' ' || split_part(k.key, ' ', 4)"
    " FROM g WHERE k.tenant = $1 AND k.key = g.key RETURNING" SQL_ANSWER};
/* clang-format on */

static void read_answer(const struct db_rows *rows, struct stored_answer *out)
{
    *out = (struct stored_answer){.found = rows->count > 0};
    if (!out->found)
        return;
    out->matches = db_get_bool(rows, 0, db_column(rows, "matches"));
    out->state = db_get_text(rows, 0, db_column(rows, "state"));
    struct session_receipt *r = &out->receipt;
    sql_receipt(rows, 0, r);
    r->session_id = db_get_text(rows, 0, db_column(rows, "session_id"));
    r->first_seq = db_get_i64(rows, 0, db_column(rows, "first_seq"));
    r->status = (int)db_get_i64(rows, 0, db_column(rows, "status"));
    r->created = r->status == 201;
    r->replayed = true;
}

enum err sql_key_guess(struct sessions *s, struct request_ctx *ctx,
                       const struct session_precondition *precondition, struct stored_answer *out)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(precondition->alike),
                                 db_bytes(precondition->fingerprint),
                                 db_i64(precondition->repetition)};
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_WRITE, &key_guess, p, ARRAY_LEN(p), &rows, NULL));
    read_answer(&rows, out);
    return ERR_NONE;
}

enum err sql_key_read(struct sessions *s, struct request_ctx *ctx,
                      const struct session_precondition *precondition, struct stored_answer *out)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(precondition->key),
                                 db_bytes(precondition->fingerprint)};
    struct db_call calls[] = {{&key_forget, p, 2, {0}}, {&key_read, p, 3, {0}}};
    /* Forgetting an old key is no change that anybody could miss: safe to repeat. */
    TRY(db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL));
    read_answer(&calls[1].rows, out);
    return ERR_NONE;
}
