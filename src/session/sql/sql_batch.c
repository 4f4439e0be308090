/* SPDX-License-Identifier: MIT */
/*
 * Appends, and creates, of several requests of one tenant in one statement and one commit.
 *
 * No deadlocks: a batch skips sessions that are locked, so it does not wait for them. It waits for
 * idempotency keys only, with all its sessions locked, in the order of the keys, and for
 * BATCH_LOCK_MS at most. A single write locks one session, then inserts one key, then waits for
 * nothing. An erasure, a deletion and the sweeper lock sessions first, and then skip keys that are
 * locked. A create of a tenant with a limit takes an advisory lock; it is in no batch.
 */
#include "sql_fragments.h"

#include <string.h>

enum {
    BATCH_BYTES = 16 * 1024, /* of one member's texts */
    BATCH_MESSAGES = 64,     /* of one member */
    BATCH_LOCK_MS = 20
};

/* The statements end alike. r has a row for each member that is done: what it stored, and its
 * number n. Keys are inserted after all sessions have changed: the count reads all of s. */
/* clang-format off */
#define SQL_MEMBERS(columns, of)                                                                   \
    "WITH i AS MATERIALIZED (SELECT i.* FROM unnest(" columns ") WITH ORDINALITY"                  \
    " AS i(" of ", n) WHERE " SQL_KEY_IS_NEW("i.key") "),"
#define SQL_STORE_MEMBERS                                                                          \
    SQL_INSERT_MESSAGES "SELECT $1, r.generation, r.last_seq - r.messages + d.at," SQL_DRAFT("d") ", r.updated_at" \
    " FROM r JOIN unnest($8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[]," \
    " $14::text[], $15::text[], $16::text[]) AS d(of, at, type, role, content, metadata, id, extra, tokens) ON d.of = r.n),"  \
    SQL_INSERT_RECORD "SELECT $1, key, fingerprint, 201, session_id, generation, version, state_version,"  \
    " least(last_seq, last_seq - messages + 1), last_seq, message_count, updated_at, expires_at, created_at,"  \
    " mark, state_mark, NULL, user_id FROM r, (SELECT count(*) FROM s) after_sessions"             \
    " WHERE key IS NOT NULL ORDER BY key) SELECT * FROM r"

/* Locks the sessions that the rows of `from` name, and that nobody else has locked. */
#define SQL_LOCK_FREE(id, condition)                                                               \
    "CROSS JOIN LATERAL (SELECT s.generation, s.mark AS mark_there, s.user_id AS owner, s.message_count" \
    " FROM sessions s WHERE s.tenant = $1 AND s.session_id BETWEEN " id " AND " id                 \
    " AND s.expires_at > now()" condition " ORDER BY s.session_id LIMIT 1"                         \
    " FOR NO KEY UPDATE SKIP LOCKED) s"
/* Changes sessions that are locked. Each is there, so each insert is an update. An UPDATE with a join
 * would have the same effect, but on a small table the planner would read all sessions of the tenant for
 * it, and would keep that plan. The values: steps of the version, new mark, mark before, messages. */
#define SQL_CHANGE_LOCKED(values, from)                                                            \
    " s AS (INSERT INTO sessions AS s (tenant, session_id, generation, ttl_seconds, expires_at, expiry_hour,"     \
    " version, mark, mark_before, last_seq, message_count) SELECT $1, session_id, generation, 1, now(), 0, "      \
    values " FROM " from " ON CONFLICT (tenant, session_id) DO UPDATE SET version = s.version + EXCLUDED.version,"  \
    " mark = EXCLUDED.mark, mark_before = EXCLUDED.mark_before,"                                   \
    " updated_at = greatest(statement_timestamp(), s.updated_at)," SQL_SLIDE                           \
    ", last_seq = s.last_seq + EXCLUDED.last_seq, message_count = s.message_count + EXCLUDED.message_count"  \
    " RETURNING" SQL_CHANGED ")"

/* l: the locked sessions, with their values after the lock. a: the members whose session is there and
 * of their user, up to the first one that the session ($17: its most messages) has no room for. The n-th member
 * of a session has version + n; its messages follow those of the member before it. s: each session is changed
 * once, for all its members. */
const struct db_stmt sql_append_batch_stmt = {
    "append_batch",
    SQL_MEMBERS("$2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[]",
                "session_id, user_id, mark, messages, key, fingerprint")
    " l AS MATERIALIZED (SELECT d.session_id, s.* FROM (SELECT DISTINCT session_id FROM i) d "
    SQL_LOCK_FREE("d.session_id", "") "),"
    " a AS MATERIALIZED (SELECT * FROM (SELECT i.*, l.generation, coalesce(lag(i.mark) OVER w, l.mark_there) AS mark_before,"
    " row_number() OVER w AS step, (sum(i.messages) OVER w)::bigint AS upto, $17::bigint - l.message_count AS room,"
    " coalesce(sum(i.messages) OVER w + lead(i.messages) OVER w <= $17 - l.message_count, false) AS superseded"
    " FROM i JOIN l ON l.session_id = i.session_id WHERE i.user_id IS NULL OR i.user_id = l.owner"
    " WINDOW w AS (PARTITION BY i.session_id ORDER BY i.n)) a WHERE upto <= room),"
    SQL_CHANGE_LOCKED("step, mark, mark_before, upto, upto", "a WHERE NOT superseded") ","
    " r AS MATERIALIZED (SELECT a.n, a.session_id, a.messages, a.key, a.fingerprint, a.mark, a.mark_before,"
    " a.superseded, s.generation, s.version - z.step + a.step AS version, s.state_version,"
    " s.message_count - z.upto + a.upto AS message_count, s.last_seq - z.upto + a.upto AS last_seq,"
    " s.updated_at, s.expires_at, s.created_at, s.state_mark, s.user_id FROM s"
    " JOIN a AS z ON z.generation = s.generation AND NOT z.superseded JOIN a ON a.generation = s.generation),"
    SQL_STORE_MEMBERS};

/* The common batch: plain messages without keys, each for another session. It costs a third less. */
const struct db_stmt sql_append_plain_batch_stmt = {
    "append_plain_batch",
    "WITH l AS MATERIALIZED (SELECT i.*, s.* FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])"
    " WITH ORDINALITY AS i(session_id, user_id, mark, role, content, n) "
    SQL_LOCK_FREE("i.session_id", " AND (i.user_id IS NULL OR i.user_id = s.user_id) AND s.message_count < $7") "),"
    SQL_CHANGE_LOCKED("1, mark, mark_there, 1, 1", "l") ","
    " r AS MATERIALIZED (SELECT l.n, l.role, l.content, false AS superseded, s.* FROM l"
    " JOIN s ON s.generation = l.generation),"
    " m AS (INSERT INTO messages (tenant, generation, seq, role, content, size, created_at)"
    " SELECT $1, generation, last_seq, role, content, octet_length(content) + 2, updated_at FROM r)"
    " SELECT * FROM r"};

const struct db_stmt sql_create_batch_stmt = {
    "create_batch",
    SQL_MEMBERS("$2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[],"
                " $17::bigint[], $18::text[], $19::text[], $20::text[], $21::bigint[], $22::bigint[]",
                "session_id, user_id, mark, messages, key, fingerprint, generation, language, context,"
                " metadata, ttl, sliding")
    SQL_INSERT_SESSION " SELECT generation, $1, session_id, user_id, language, context, metadata::jsonb, ttl, sliding = 1,"
    SQL_EXPIRES_IN("ttl") ", messages, messages, mark, mark FROM i RETURNING" SQL_CHANGED "),"
    " r AS MATERIALIZED (SELECT i.n, i.session_id, i.messages, i.key, i.fingerprint, false AS superseded, s.*"
    " FROM s JOIN i ON i.generation = s.generation),"
    SQL_STORE_MEMBERS};
/* clang-format on */

/* ---- who may be in a batch ---- */

static struct session_write *write_of(const struct db_member *m)
{
    return ((const struct sql_batch_member *)(const void *)m)->w;
}

/* Whether a batch can have the write. A message id may be taken, which would fail all members. */
static bool is_fit(const struct request_ctx *ctx, const struct session_write *w)
{
    const struct session_precondition *p = w->precondition;
    const struct sql_drafts m = w->drafts;
    size_t bytes = 0;
    if (w->append ? w->append->create || p->must_exist || p->if_match
                  : !w->id_is_new || w->out || ctx->sessions_max > 0)
        return false;
    if (w->draft)
        bytes = w->draft->context.n + w->draft->metadata.n;
    for (size_t i = 0; i < m.n; i++) {
        bytes += m.messages[i].content.n + m.messages[i].metadata.n + m.messages[i].extra.n;
        if (m.messages[i].message_id.p)
            return false;
    }
    return m.n <= BATCH_MESSAGES && bytes <= BATCH_BYTES;
}

/* Each key once. */
static bool fits(struct db_member *const *members, size_t n, const struct db_member *m)
{
    const struct sv key = write_of(m)->precondition->key;
    for (size_t i = 0; key.p && i < n; i++)
        if (sv_eq(write_of(members[i])->precondition->key, key))
            return false;
    return true;
}

static bool is_plain(struct db_member *const *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct session_write *w = write_of(members[i]);
        if (!w->append || !sql_write_is_plain(w))
            return false;
        for (size_t k = 0; k < i; k++)
            if (sv_eq(write_of(members[k])->id, w->id))
                return false;
    }
    return true;
}

/* ---- parameters ---- */

enum { PLAIN_PARAMS = 7, APPEND_PARAMS = 17, CREATE_PARAMS = 22 };

struct columns {
    struct sv text[5][DB_BATCHER_MAX];
    int64_t number[4][DB_BATCHER_MAX]; /* number[0]: the marks */
};

/* $1 to $7. */
static enum err member_params(struct request_ctx *ctx, struct db_member *const *members, size_t n,
                              struct columns *c, struct db_param *p)
{
    for (size_t i = 0; i < n; i++) {
        const struct session_write *w = write_of(members[i]);
        c->text[0][i] = w->id;
        c->text[1][i] = w->append ? w->precondition->user : w->draft->user_id;
        c->text[2][i] = w->precondition->key;
        c->text[3][i] = w->precondition->key.p ? w->precondition->fingerprint : SV_NONE;
        c->number[0][i] = (int64_t)random_u64();
        c->number[1][i] = (int64_t)w->drafts.n;
    }
    p[0] = db_text(ctx->tenant);
    TRY(db_text_array(ctx, c->text[0], n, &p[1]));
    TRY(db_text_array(ctx, c->text[1], n, &p[2]));
    TRY(db_i64_array(ctx, c->number[0], n, &p[3]));
    TRY(db_i64_array(ctx, c->number[1], n, &p[4]));
    TRY(db_text_array(ctx, c->text[2], n, &p[5]));
    return db_bytes_array(ctx, c->text[3], n, &p[6]);
}

/* $5 and $6 of append_plain_batch. */
static enum err plain_params(struct request_ctx *ctx, struct db_member *const *members, size_t n,
                             struct columns *c, struct db_param *p)
{
    for (size_t i = 0; i < n; i++) {
        c->text[3][i] = write_of(members[i])->drafts.messages[0].role;
        c->text[4][i] = write_of(members[i])->drafts.messages[0].content;
    }
    TRY(db_text_array(ctx, c->text[3], n, &p[4]));
    return db_text_array(ctx, c->text[4], n, &p[5]);
}

/* $8 to $16: the messages of all members, each with its member's number and its place in it. */
static enum err message_params(struct request_ctx *ctx, struct db_member *const *members, size_t n,
                               struct db_param *p)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += write_of(members[i])->drafts.n;
    struct session_message *all = arena_array(ctx->arena, total, sizeof(*all));
    int64_t *of = arena_array(ctx->arena, total, sizeof(*of));
    int64_t *at = arena_array(ctx->arena, total, sizeof(*at));
    if (!all || !of || !at)
        return ctx_nomem(ctx);
    total = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sql_drafts m = write_of(members[i])->drafts;
        for (size_t k = 0; k < m.n; k++, total++) {
            all[total] = m.messages[k];
            of[total] = (int64_t)i + 1;
            at[total] = (int64_t)k + 1;
        }
    }
    TRY(db_i64_array(ctx, of, total, &p[7]));
    TRY(db_i64_array(ctx, at, total, &p[8]));
    return sql_message_arrays(ctx, all, total, &p[9]);
}

/* $17 to $22. */
static enum err session_params(const struct sessions *s, struct request_ctx *ctx,
                               struct db_member *const *members, size_t n, struct columns *c,
                               struct db_param *p)
{
    for (size_t i = 0; i < n; i++) {
        const struct session_draft *draft = write_of(members[i])->draft;
        c->number[1][i] = sql_new_generation(s, write_of(members[i]));
        c->number[2][i] = draft->ttl_seconds;
        c->number[3][i] = draft->sliding;
        c->text[0][i] = draft->language;
        c->text[1][i] = draft->context;
        c->text[2][i] = draft->metadata;
    }
    TRY(db_i64_array(ctx, c->number[1], n, &p[16]));
    TRY(db_text_array(ctx, c->text[0], n, &p[17]));
    TRY(db_text_array(ctx, c->text[1], n, &p[18]));
    TRY(db_text_array(ctx, c->text[2], n, &p[19]));
    TRY(db_i64_array(ctx, c->number[2], n, &p[20]));
    return db_i64_array(ctx, c->number[3], n, &p[21]);
}

/* ---- results ---- */

static void take_receipts(const struct db_rows *rows, struct db_member *const *members, size_t n)
{
    const int n_column = db_column(rows, "n");
    for (size_t i = 0; i < n; i++)
        members[i]->apart = DB_APART_SKIPPED;
    for (int row = 0; row < rows->count; row++) {
        struct db_member *m = members[db_get_i64(rows, row, n_column) - 1];
        struct session_write *w = write_of(m);
        m->apart = DB_TOGETHER;
        sql_change_from_row(w, rows, row, 201, w->drafts.n);
        w->receipt->superseded = db_get_bool(rows, row, db_column(rows, "superseded"));
    }
}

/* ---- a batch ---- */

/* Whether each member is to try alone: the server refused the statement, so nothing was done, and
 * does not say which member was at fault. Errors of class 53 (no resources), 57 (stopped) and 08
 * (no connection) would hit each member again. */
static bool may_try_alone(const struct db_failure *failure)
{
    return failure->sqlstate[0] && memcmp(failure->sqlstate, "53", 2) != 0 &&
           memcmp(failure->sqlstate, "57", 2) != 0 && memcmp(failure->sqlstate, "08", 2) != 0;
}

/* The statement that stores what the members write. */
static enum err write_call(const struct sessions *s, struct request_ctx *ctx,
                           struct db_member *const *members, size_t n, struct columns *c,
                           struct db_param p[CREATE_PARAMS], struct db_call *out)
{
    TRY(member_params(ctx, members, n, c, p));
    if (is_plain(members, n)) {
        *out = (struct db_call){&sql_append_plain_batch_stmt, p, PLAIN_PARAMS, {0}};
        p[PLAIN_PARAMS - 1] = db_i64(s->settings.messages_max);
        return plain_params(ctx, members, n, c, p);
    }
    *out = (struct db_call){&sql_append_batch_stmt, p, APPEND_PARAMS, {0}};
    p[APPEND_PARAMS - 1] = db_i64(s->settings.messages_max);
    TRY(message_params(ctx, members, n, p));
    if (write_of(members[0])->append)
        return ERR_NONE;
    *out = (struct db_call){&sql_create_batch_stmt, p, CREATE_PARAMS, {0}};
    return session_params(s, ctx, members, n, c, p);
}

static enum err run_batch(void *service, struct request_ctx *ctx, struct db_member *const *members,
                          size_t n)
{
    struct sessions *s = service;
    struct columns c;
    struct db_param p[CREATE_PARAMS];
    struct db_call call;
    struct db_failure failure;
    TRY(write_call(s, ctx, members, n, &c, p, &call));
    ctx->lock_ms = BATCH_LOCK_MS;
    const enum err e = db_batch(s->db, ctx, DB_WRITE, &call, 1, &failure);
    if (e != ERR_NONE && may_try_alone(&failure)) {
        for (size_t i = 0; i < n; i++)
            members[i]->apart = DB_APART_FAILED;
        ctx_clear_error(ctx);
        return ERR_NONE;
    }
    if (e == ERR_NONE)
        take_receipts(&call.rows, members, n);
    return e;
}

static enum err run_alone(void *service, struct db_member *m)
{
    struct session_write *w = write_of(m);
    return (w->append ? sql_message_append : sql_session_insert)(service, m->ctx, w);
}

const struct db_batcher_kind sql_write_kind = {fits, run_batch, run_alone};

enum err sql_write_batched(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    struct sql_batch_member m = {.of_batch = {.ctx = ctx}, .w = w};
    if (!is_fit(ctx, w))
        m.of_batch.apart = DB_APART_UNFIT;
    return db_batcher_run(w->append ? s->appends : s->creates, &m.of_batch);
}
