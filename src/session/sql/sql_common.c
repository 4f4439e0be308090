/* SPDX-License-Identifier: MIT */
/* Parameters and rows that the statements have in common. */
#include "sql_fragments.h"

#include <string.h>

enum err sql_away(struct request_ctx *ctx)
{
    return ctx_fault(ctx, ERR_UNAVAILABLE, "PostgreSQL is known to be away");
}

enum err sql_reachable(struct sessions *s, struct request_ctx *ctx)
{
    /* caches_only: the API key could not be confirmed. For this request PostgreSQL counts as away,
     * even if it is back by now. */
    return db_is_up(s->db) && !ctx->caches_only ? ERR_NONE : sql_away(ctx);
}

enum err sql_precondition_params(struct request_ctx *ctx, const struct session_write *w,
                                 struct db_param *out)
{
    const struct session_precondition *precondition = w->precondition;
    out[0] = db_text(ctx->tenant);
    out[1] = db_text(w->id);
    out[2] = db_text(precondition->user);
    out[4] = db_text(precondition->key);
    out[5] = db_bytes(precondition->key.p ? precondition->fingerprint : SV_NONE);
    out[6] = sql_mark();
    return db_text_array(ctx, precondition->if_match, precondition->n_if_match, &out[3]);
}

static const struct db_stmt session_admit = {"session_admit",
                                             "SELECT parley_admit($1, $2, $3, $4)"};
static const struct db_stmt admit_count = {"session_admit_count", "SELECT parley_count($1, $2)"};

/* One count is enough, unless the machine stalls for as long as a count is valid. */
enum { ADMIT_COUNTS_MAX = 3 };

struct db_param sql_mark(void)
{
    return db_i64((int64_t)random_u64());
}

/* Whether an id of these messages names the generation: see sql_reserved_generations. */
static bool is_reserved(int64_t generation, struct sql_drafts drafts)
{
    for (size_t i = 0; i < drafts.n; i++) {
        uint64_t named, seq;
        const struct sv id = drafts.messages[i].message_id;
        if (id.p && uuid_v8_unpack(id, &named, &seq) && (int64_t)named == generation)
            return true;
    }
    return false;
}

int64_t sql_new_generation(const struct sessions *s, const struct session_write *w)
{
    enum { RANDOM_BITS = 21 };
    int64_t generation;
    do {
        const uint64_t ms = (uint64_t)(db_now_us(s->db) / 1000);
        generation = (int64_t)(ms << RANDOM_BITS | random_u64() >> (64 - RANDOM_BITS));
    } while (is_reserved(generation, w->drafts));
    return generation;
}

/* With row-level security PostgreSQL does not say which value violates a constraint. */
static enum err message_id_taken(struct sessions *s, struct request_ctx *ctx,
                                 const struct session_write *w)
{
    static const struct db_stmt first = {
        "message_id_taken",
        "SELECT min(n) - 1 FROM (SELECT id, n, row_number() OVER (PARTITION BY id ORDER BY n) AS k"
        " FROM unnest($3::text[]) WITH ORDINALITY AS u(id, n) WHERE id IS NOT NULL) AS given"
        " WHERE k > 1 OR EXISTS (SELECT FROM sessions s JOIN messages m ON m.tenant = s.tenant"
        " AND m.generation = s.generation AND m.message_id = given.id"
        " WHERE s.tenant = $1 AND s.session_id = $2)"};
    const struct sql_drafts m = w->drafts;
    struct db_param p[3] = {db_text(ctx->tenant), db_text(w->id)};
    struct db_rows rows = {.count = 0};
    struct sv *ids = arena_array(ctx->arena, m.n, sizeof(*ids));
    for (size_t i = 0; ids && i < m.n; i++)
        ids[i] = m.messages[i].message_id;
    if (m.n > 1 && ids && db_text_array(ctx, ids, m.n, &p[2]) == ERR_NONE)
        (void)!db_query(s->db, ctx, DB_READ, &first, p, 3, &rows, NULL);
    ctx_clear_error(ctx);
    size_t at = m.n == 1 ? 0 : m.n;
    if (rows.count > 0 && !db_is_null(&rows, 0, 0))
        at = (size_t)db_get_i64(&rows, 0, 0);
    return session_message_id_taken(ctx, m.messages, m.n, at);
}

/* Describes a failure to the client by the constraint that was violated. */
static enum err write_failed(struct sessions *s, struct request_ctx *ctx,
                             const struct session_write *w, enum err e,
                             const struct db_failure *failure)
{
    if (e == ERR_LIMITED) {
        ctx_clear_error(ctx);
        ctx->err.retry_after_s = 30;
        return ctx_fail(ctx, e, "tenant_sessions", NULL,
                        "The tenant has the %lld open sessions that it may have.",
                        (long long)ctx->sessions_max);
    }
    if (e != ERR_CONFLICT)
        return e;
    ctx_clear_error(ctx);
    if (strcmp(failure->constraint, "messages_message_id") == 0)
        return message_id_taken(s, ctx, w);
    if (strcmp(failure->constraint, "idempotency_keys_pkey") == 0)
        return ctx_fail(ctx, ERR_CONFLICT, "key_taken", "Idempotency-Key",
                        "The key was used before.");
    return ctx_fault(ctx, ERR_INTERNAL, "unique violation of %s", failure->constraint);
}

enum err sql_write(struct sessions *s, struct request_ctx *ctx, const struct session_write *w,
                   struct db_call *calls, size_t n, struct db_param *generation)
{
    const struct db_param max = db_i64(ctx->sessions_max), tenant = db_text(ctx->tenant);
    const struct db_param count[] = {tenant, max};
    const struct db_param admit[] = {tenant, db_text(w->id), db_text(w->precondition->key), max};
    struct db_call all[1 + SQL_WRITE_MAX] = {{&session_admit, admit, ARRAY_LEN(admit), {0}}};
    struct db_call *const first = generation && ctx->sessions_max > 0 ? all : all + 1;
    struct db_failure failure;
    bool repeated = false;
    memcpy(all + 1, calls, n * sizeof(*calls));
    if (generation)
        *generation = db_i64(sql_new_generation(s, w));
    for (int counts = 0;;) {
        const enum err e =
            db_batch(s->db, ctx, DB_WRITE, first, (size_t)(all + 1 + n - first), &failure);
        if (e == ERR_NONE) {
            memcpy(calls, all + 1, n * sizeof(*calls));
            return ERR_NONE;
        }
        if (e == ERR_CONFLICT && generation && !repeated &&
            strcmp(failure.constraint, "sessions_tenant_generation_key") == 0) {
            ctx_clear_error(ctx);
            repeated = true;
            *generation = db_i64(sql_new_generation(s, w));
            continue;
        }
        if (counts++ == ADMIT_COUNTS_MAX || strcmp(failure.sqlstate, "PL428") != 0)
            return write_failed(s, ctx, w, e, &failure);
        ctx_clear_error(ctx);
        /* The check asks for a count. That is safe to repeat, and so DB_READ. */
        const enum err counted =
            db_query(s->db, ctx, DB_READ, &admit_count, count, ARRAY_LEN(count), NULL, &failure);
        TRY(write_failed(s, ctx, w, counted, &failure));
    }
}

/* Takes numbers and times. Sets neither mark_before nor first_seq. */
static void receipt_from_row(const struct db_rows *rows, int i, struct session_receipt *out)
{
    out->generation = db_get_i64(rows, i, db_column(rows, "generation"));
    out->version = db_get_i64(rows, i, db_column(rows, "version"));
    out->state_version = db_get_i64(rows, i, db_column(rows, "state_version"));
    out->mark = (uint64_t)db_get_i64(rows, i, db_column(rows, "mark"));
    out->state_mark = (uint64_t)db_get_i64(rows, i, db_column(rows, "state_mark"));
    out->message_count = db_get_i64(rows, i, db_column(rows, "message_count"));
    out->last_seq = db_get_i64(rows, i, db_column(rows, "last_seq"));
    out->at = db_get_time(rows, i, db_column(rows, "updated_at"));
    out->session_at = db_get_time(rows, i, db_column(rows, "created_at"));
    out->expires_at = db_get_time(rows, i, db_column(rows, "expires_at"));
}

void sql_change_from_row(struct session_write *w, const struct db_rows *rows, int i, int status,
                         size_t appended)
{
    struct session_receipt *r = w->receipt;
    w->done = rows->count > i && !db_is_null(rows, i, db_column(rows, "generation"));
    if (!w->done)
        return;
    receipt_from_row(rows, i, r);
    r->session_id = w->id;
    r->mark_before = (uint64_t)db_get_i64(rows, i, db_column(rows, "mark_before"));
    r->first_seq = appended > 0 ? r->last_seq - (int64_t)appended + 1 : 0;
    r->status = status;
    r->created = status == 201 && !w->append;
}

enum err sql_write_one(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                       const struct session *base, const struct db_stmt *stmt, struct db_param *p,
                       int n, int status)
{
    struct db_call call = {stmt, p, n, {0}};
    TRY(sql_precondition_params(ctx, w, p));
    if (base) {
        p[7] = db_i64(base->generation);
        p[8] = db_i64(base->state_version);
        p[9] = db_i64((int64_t)base->state_mark);
    }
    TRY(sql_write(s, ctx, w, &call, 1, NULL));
    sql_change_from_row(w, &call.rows, 0, status, 0);
    return ERR_NONE;
}

void sql_apply_receipt(struct session *s, const struct session_receipt *receipt)
{
    s->generation = receipt->generation;
    s->version = receipt->version;
    s->state_version = receipt->state_version;
    s->mark = receipt->mark;
    s->state_mark = receipt->state_mark;
    s->last_seq = receipt->last_seq;
    s->message_count = receipt->message_count;
    s->created_at = receipt->session_at;
    s->updated_at = receipt->at;
    s->expires_at = receipt->expires_at;
}

void sql_session_from_row(const struct db_rows *rows, int i, struct session *out)
{
    struct session_receipt numbers;
    receipt_from_row(rows, i, &numbers);
    sql_apply_receipt(out, &numbers);
    out->ttl_seconds = db_get_i64(rows, i, db_column(rows, "ttl_seconds"));
    out->sliding = db_get_bool(rows, i, db_column(rows, "sliding"));
    out->user_id = db_get_text(rows, i, db_column(rows, "user_id"));
    out->language = db_get_text(rows, i, db_column(rows, "language"));
    out->context = db_get_text(rows, i, db_column(rows, "context"));
    out->metadata = db_get_text(rows, i, db_column(rows, "metadata"));
    out->summary = db_get_text(rows, i, db_column(rows, "summary"));
    out->forked_from = db_get_text(rows, i, db_column(rows, "forked_from"));
}

enum err sql_sessions_from_rows(struct request_ctx *ctx, const struct db_rows *rows,
                                struct session_list *out)
{
    *out = (struct session_list){.n = (size_t)rows->count};
    out->sessions = arena_zalloc(ctx->arena, out->n * sizeof(*out->sessions));
    if (!out->sessions)
        return ctx_nomem(ctx);
    for (int i = 0; i < rows->count; i++) {
        sql_session_from_row(rows, i, &out->sessions[i]);
        out->sessions[i].session_id = db_get_text(rows, i, db_column(rows, "session_id"));
    }
    return ERR_NONE;
}

enum err sql_messages_from_rows(struct request_ctx *ctx, const struct db_rows *rows, bool reversed,
                                struct session_message **out, size_t *n)
{
    const int of = db_column(rows, "generation"), seq = db_column(rows, "seq"),
              id = db_column(rows, "message_id"), type = db_column(rows, "type"),
              role = db_column(rows, "role"), content = db_column(rows, "content"),
              metadata = db_column(rows, "message_metadata"), extra = db_column(rows, "extra"),
              tokens = db_column(rows, "tokens"), at = db_column(rows, "message_created_at"),
              edited = db_column(rows, "edited_at");
    size_t count = 0;
    while (count < (size_t)rows->count && !db_is_null(rows, (int)count, seq))
        count++;
    struct session_message *messages = arena_array(ctx->arena, count, sizeof(*messages));
    char *made = arena_array(ctx->arena, count, UUID_LEN + 1);
    if (!messages || !made)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < count; i++) {
        const int row = (int)(reversed ? count - 1 - i : i);
        struct session_message *m = &messages[i];
        m->seq = db_get_i64(rows, row, seq);
        m->message_id = session_message_id(db_get_text(rows, row, id), db_get_i64(rows, row, of),
                                           m->seq, made + i * (UUID_LEN + 1));
        m->type = db_get_text(rows, row, type);
        m->role = db_get_text(rows, row, role);
        m->content = db_get_text(rows, row, content);
        m->metadata = db_get_text(rows, row, metadata);
        m->extra = db_get_text(rows, row, extra);
        m->tokens = db_get_text(rows, row, tokens);
        m->created_at = db_get_time(rows, row, at);
        m->edited_at = db_get_time(rows, row, edited);
        m->native = SV_NONE;
    }
    *out = messages;
    *n = count;
    return ERR_NONE;
}

void sql_message_name(struct session_message_name name, int64_t *generation, int64_t *seq)
{
    uint64_t of = 0, number = (uint64_t)name.seq;
    /* No session has generation 0: an id with it is always a client's own. */
    if (name.id.p && !(uuid_v8_unpack(name.id, &of, &number) && of != 0))
        of = number = 0;
    *generation = (int64_t)of;
    *seq = (int64_t)number;
}

enum err sql_reserved_generations(struct request_ctx *ctx, const struct session_message *messages,
                                  size_t n, struct db_param *out)
{
    int64_t *list = arena_array(ctx->arena, n, sizeof(*list));
    size_t listed = 0;
    if (!list)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++) {
        uint64_t generation, seq;
        struct sv id = messages[i].message_id;
        if (id.p && uuid_v8_unpack(id, &generation, &seq))
            list[listed++] = (int64_t)generation;
    }
    return db_i64_array(ctx, list, listed, out);
}

bool sql_write_is_plain(const struct session_write *w)
{
    const struct session_message *m = w->drafts.messages;
    return w->drafts.n == 1 && !w->precondition->if_match && !w->precondition->key.p &&
           sv_eq(m->type, SV("message")) && m->role.p && m->content.p && !m->message_id.p &&
           !m->extra.p && !m->tokens.p && sv_eq(m->metadata, SV("{}"));
}

enum err sql_message_arrays(struct request_ctx *ctx, const struct session_message *messages,
                            size_t n, struct db_param *out)
{
#define OF(field) offsetof(struct session_message, field)
    static const size_t columns[SQL_MESSAGE_PARAMS] = {
        OF(type), OF(role), OF(content), OF(metadata), OF(message_id), OF(extra), OF(tokens)};
    struct sv *texts = arena_array(ctx->arena, n, sizeof(*texts));
    if (!texts)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        for (size_t k = 0; k < n; k++)
            memcpy(&texts[k], (const char *)&messages[k] + columns[i], sizeof(*texts));
        TRY(db_text_array(ctx, texts, n, &out[i]));
    }
    return ERR_NONE;
}

/* ---- idempotency records ---- */

static const struct db_stmt key_read = {
    "key_read",
    "SELECT k.fingerprint = $3 AS matches, k.status, k.session_id, k.generation, k.version,"
    " k.state_version, k.first_seq, k.last_seq, k.message_count, k.at AS updated_at,"
    " k.expires_at, k.session_at AS created_at, k.mark, k.state_mark, k.state"
    " FROM idempotency_keys k WHERE k.tenant = $1 AND k.key = $2"
    " AND k.created_at > now() - interval '24 hours'"};

static const struct db_stmt key_expire = {
    "key_expire", "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2"
                  " AND created_at <= now() - interval '24 hours'"};

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
    receipt_from_row(rows, 0, r);
    r->session_id = db_get_text(rows, 0, db_column(rows, "session_id"));
    r->first_seq = db_get_i64(rows, 0, db_column(rows, "first_seq"));
    r->status = (int)db_get_i64(rows, 0, db_column(rows, "status"));
    r->created = r->status == 201;
    r->replayed = true;
    return ERR_NONE;
}
