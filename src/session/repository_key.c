/* SPDX-License-Identifier: MIT */
/* The SQL on idempotency keys, and the sweeper's. */
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

/* clang-format off */
static const struct db_stmt sweep_on = {"sweep_on", "SELECT set_config('parley.sweep', 'on', true)"};

static const struct db_stmt expired_sessions = {
    "expired_sessions",
    "SELECT s.tenant, s.generation FROM sessions s"
    " WHERE s.expiry_hour <= " SQL_HOUR("now()") " AND s.expires_at <= now()"
    " ORDER BY s.expiry_hour LIMIT 100"};

static const struct db_stmt expired_keys = {
    "expired_keys",
    "SELECT DISTINCT k.tenant FROM (SELECT tenant FROM idempotency_keys"
    " WHERE created_at <= now() - interval '24 hours' ORDER BY created_at LIMIT 1000) k"};

/* Another sweeper may be at the same session: whoever has its row goes on, the other one passes. */
static const struct db_stmt sweep_messages = {
    "sweep_messages",
    "WITH s AS (SELECT tenant, generation FROM sessions WHERE tenant = $1 AND generation = $2"
    " AND expires_at <= now() FOR UPDATE SKIP LOCKED)"
    " DELETE FROM messages m USING s WHERE m.tenant = s.tenant AND m.generation = s.generation"
    " AND m.seq < (SELECT min(seq) + 1000 FROM messages WHERE tenant = $1 AND generation = $2)"};

static const struct db_stmt sweep_session = {
    "sweep_session",
    "DELETE FROM sessions s WHERE s.tenant = $1 AND s.generation = $2 AND s.expires_at <= now()"
    " AND NOT EXISTS (SELECT FROM messages m WHERE m.tenant = $1 AND m.generation = $2)"};

static const struct db_stmt sweep_keys = {
    "sweep_keys",
    "DELETE FROM idempotency_keys WHERE tenant = $1 AND key IN (SELECT key FROM idempotency_keys"
    " WHERE tenant = $1 AND created_at <= now() - interval '24 hours' ORDER BY created_at"
    " LIMIT 1000)"};
/* clang-format on */

static void count(struct sessions *s, _Atomic uint64_t *counter, int n)
{
    if (s->slot && n > 0)
        metrics_add(counter, (uint64_t)n);
}

static enum err sweep_one(struct sessions *s, struct request_ctx *ctx, int64_t generation)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_i64(generation)};
    struct db_call calls[] = {{&sweep_messages, p, 2, {0}}, {&sweep_session, p, 2, {0}}};
    enum err e = db_batch(s->db, ctx, DB_WRITE, calls, ARRAY_LEN(calls), NULL);
    if (e != ERR_NONE)
        return e;
    count(s, s->slot ? &s->slot->swept_messages : NULL, calls[0].rows.count);
    count(s, s->slot ? &s->slot->swept_sessions : NULL, calls[1].rows.count);
    return ERR_NONE;
}

static enum err sweep_keys_of(struct sessions *s, struct request_ctx *ctx)
{
    const struct db_param p[] = {db_text(ctx->tenant)};
    struct db_rows rows;
    enum err e = db_query(s->db, ctx, DB_WRITE, &sweep_keys, p, 1, &rows, NULL);
    if (e == ERR_NONE)
        count(s, s->slot ? &s->slot->swept_keys : NULL, rows.count);
    return e;
}

enum err repo_sweep(struct sessions *s, struct request_ctx *ctx, bool *more)
{
    struct db_call calls[] = {{&sweep_on, NULL, 0, {0}},
                              {&expired_sessions, NULL, 0, {0}},
                              {&expired_keys, NULL, 0, {0}}};
    *more = false;
    ctx->tenant = SV("");
    enum err e = db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL);
    const struct db_rows *sessions = &calls[1].rows, *keys = &calls[2].rows;
    for (int i = 0; e == ERR_NONE && i < sessions->count; i++) {
        ctx->tenant = db_get_text(sessions, i, db_column(sessions, "tenant"));
        e = sweep_one(s, ctx, db_get_i64(sessions, i, db_column(sessions, "generation")));
        *more = true;
    }
    for (int i = 0; e == ERR_NONE && i < keys->count; i++) {
        ctx->tenant = db_get_text(keys, i, db_column(keys, "tenant"));
        e = sweep_keys_of(s, ctx);
        *more = true;
    }
    return e;
}
