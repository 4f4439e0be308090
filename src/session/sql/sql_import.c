/* SPDX-License-Identifier: MIT */
/* Import: looks up which sessions are there, and inserts the others in one transaction. */
#include "parley/session/import.h"

#include "sql_fragments.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/json/members.h"

/* clang-format off */
static const struct db_stmt import_find = {
    "import_find",
    "SELECT q.n, s.* FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n) CROSS JOIN LATERAL"
    " (SELECT generation, created_at, expires_at <= now() AS expired FROM sessions WHERE tenant = $1"
    " AND session_id BETWEEN q.id AND q.id ORDER BY session_id LIMIT 1) s"};

/* As SQL_EXPIRED, for several sessions. */
static const struct db_stmt import_expired = {
    "import_expired",
    "UPDATE sessions s SET session_id =" SQL_TOMBSTONE_ID(SQL_DELETED) ", context = '{}', metadata = '{}',"
    " expiry_hour = 0 WHERE s.tenant = $1 AND s.generation = ANY($2::bigint[]) AND s.expires_at <= now()"
    " AND NOT" SQL_IS_TOMBSTONE("s.session_id")};

/* How long an abandoned hidden session waits for the sweeper. */
#define SQL_HIDDEN_UNTIL "now() + interval '10 minutes'"

/* $3: the last seq, $4: the count of messages. $5: when the session expires, if it is complete; else NULL.
 * Divides by zero, and so fails, if the hidden session was erased meanwhile: its messages would have no session.
 * The change of the language makes search index the messages, whose session was hidden when they came. */
static const struct db_stmt import_continue = {
    "import_continue",
    "WITH u AS (UPDATE sessions SET last_seq = $3, message_count = $4,"
    " session_id = CASE WHEN $5 IS NULL THEN session_id ELSE" SQL_OWN_ID("session_id") "END,"
    " language = CASE WHEN $5 IS NULL THEN language ELSE $6 END,"
    " expires_at = CASE WHEN $5 IS NULL THEN " SQL_HIDDEN_UNTIL " ELSE" SQL_AT("$5") "END,"
    " expiry_hour = " SQL_HOUR("CASE WHEN $5 IS NULL THEN " SQL_HIDDEN_UNTIL " ELSE" SQL_AT("$5") "END")
    " WHERE tenant = $1 AND generation = $2 AND" SQL_IS_HIDDEN("session_id") "AND expires_at > now() RETURNING 1)"
    " SELECT 1 / count(*) FROM u"};
#define DIVISION_BY_ZERO "22012"

/* $2: the mark. A session that is not whole yet is hidden, and gets its language with its id. */
static const struct db_stmt import_sessions = {
    "import_sessions",
    "WITH x AS (SELECT i.*, CASE WHEN whole = 1 THEN" SQL_AT("expires") "ELSE " SQL_HIDDEN_UNTIL " END AS expires_at"
    " FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],"
    " $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[])"
    " AS i(generation, ttl_seconds, sliding, created, updated, expires, last_seq, message_count, whole, session_id, user_id,"
    " language, context, metadata, forked_from, summary)),"
    " u AS (INSERT INTO summaries (tenant, generation, last_seq, content, tokens, stale, created_at)"
    " SELECT $1, generation, (summary::json ->> 'last_seq')::bigint, (summary::json -> 'content')::text,"
    " (summary::json ->> 'tokens')::integer, (summary::json ->> 'stale')::boolean,"
    " (summary::json ->> 'created_at')::timestamptz FROM x WHERE summary IS NOT NULL)"
    " INSERT INTO sessions (tenant, generation, session_id, user_id, language, context, metadata, ttl_seconds, sliding,"
    " created_at, updated_at, expires_at, expiry_hour, last_seq, message_count, mark, state_mark, forked_from)"
    " SELECT $1, generation, CASE WHEN whole = 1 THEN session_id ELSE E'" SQL_HIDDEN "' || generation || '~' || session_id END,"
    " user_id, CASE WHEN whole = 1 THEN language ELSE '' END, context, metadata::jsonb, ttl_seconds, sliding = 1, "
    SQL_AT("created") ", " SQL_AT("updated") ", expires_at, " SQL_HOUR("expires_at") ", last_seq, message_count, $2::bigint,"
    " $2, forked_from FROM x"};

static const struct db_stmt import_messages = {
    "import_messages",
    SQL_INSERT_MESSAGES_INTO(", edited_at")
    "SELECT $1, i.generation, i.seq," SQL_DRAFT("i") ", " SQL_AT("i.created") ", CASE WHEN i.edited > 0 THEN " SQL_AT("i.edited") " END"
    " FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],"
    " $10::text[], $11::text[], $12::text[])"
    " AS i(generation, seq, created, edited, id, type, role, content, metadata, extra, tokens)"};

static const struct db_stmt import_user_state = {
    "import_user_state",
    "INSERT INTO user_states AS u (tenant, user_id, state, version, mark, created_at, updated_at, ttl_seconds, expires_at)"
    " VALUES ($1, $2, $3, 1, $4, " SQL_AT("$5") ", " SQL_AT("$6") ", $7, " SQL_AT("$8") ")"
    " ON CONFLICT (tenant, user_id) DO UPDATE SET state = $3, version = 1, mark = $4, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at, ttl_seconds = $7, expires_at = excluded.expires_at WHERE u.expires_at <= now()"};
/* clang-format on */

/* ---- rows as arrays, one for each column ---- */

struct column {
    size_t offset; /* in a row: an int64_t, or a struct sv */
    bool is_text;
};
struct session_row {
    struct session s;
    int64_t sliding, is_whole;
};
struct message_row {
    struct session_message m;
    int64_t generation;
};
#define NUMBER(row, member)                 \
    {                                       \
        offsetof(struct row, member), false \
    }
#define TEXT(row, member)                  \
    {                                      \
        offsetof(struct row, member), true \
    }
/* In the order of import_sessions and import_messages. */
static const struct column session_columns[] = {
    NUMBER(session_row, s.generation), NUMBER(session_row, s.ttl_seconds),
    NUMBER(session_row, sliding),      NUMBER(session_row, s.created_at),
    NUMBER(session_row, s.updated_at), NUMBER(session_row, s.expires_at),
    NUMBER(session_row, s.last_seq),   NUMBER(session_row, s.message_count),
    NUMBER(session_row, is_whole),     TEXT(session_row, s.session_id),
    TEXT(session_row, s.user_id),      TEXT(session_row, s.language),
    TEXT(session_row, s.context),      TEXT(session_row, s.metadata),
    TEXT(session_row, s.forked_from),  TEXT(session_row, s.summary)};
static const struct column message_columns[] = {
    NUMBER(message_row, generation),   NUMBER(message_row, m.seq),
    NUMBER(message_row, m.created_at), NUMBER(message_row, m.edited_at),
    TEXT(message_row, m.message_id),   TEXT(message_row, m.type),
    TEXT(message_row, m.role),         TEXT(message_row, m.content),
    TEXT(message_row, m.metadata),     TEXT(message_row, m.extra),
    TEXT(message_row, m.tokens)};

static enum err make_arrays(struct request_ctx *ctx, const void *rows, size_t size, size_t n,
                            const struct column *columns, size_t n_columns, struct db_param *out)
{
    struct sv *texts = arena_array(ctx->arena, n, sizeof(*texts));
    int64_t *numbers = arena_array(ctx->arena, n, sizeof(*numbers));
    if (!texts || !numbers)
        return ctx_nomem(ctx);
    for (size_t k = 0; k < n_columns; k++) {
        for (size_t i = 0; i < n; i++) {
            const char *value = (const char *)rows + i * size + columns[k].offset;
            if (columns[k].is_text)
                memcpy(&texts[i], value, sizeof(texts[i]));
            else
                memcpy(&numbers[i], value, sizeof(numbers[i]));
        }
        TRY(columns[k].is_text ? db_text_array(ctx, texts, n, &out[k])
                               : db_i64_array(ctx, numbers, n, &out[k]));
    }
    return ERR_NONE;
}

/* ---- what is stored ---- */

/* The session as it is after this call. */
static struct session session_after(struct sessions *s, const struct session_import *item)
{
    const int64_t now = db_now_us(s->db);
    struct session x = item->session;
    if (item->state == SESSION_IMPORT_NEW) {
        const struct sql_drafts drafts = {x.messages, x.n_messages};
        x.generation = sql_new_generation(s, &(struct session_write){.drafts = drafts});
        x.message_count = 0;
        if (x.ttl_seconds == 0)
            x.ttl_seconds = s->settings.ttl_seconds;
        if (x.expires_at == 0)
            x.expires_at = now + x.ttl_seconds * 1000000;
        if (x.created_at == 0 && x.n_messages > 0)
            x.created_at = x.messages[0].created_at;
        if (x.created_at == 0)
            x.created_at = now;
        if (x.updated_at == 0)
            x.updated_at = x.created_at;
    }
    x.message_count += (int64_t)x.n_messages;
    if (x.n_messages > 0)
        x.last_seq = x.messages[x.n_messages - 1].seq;
    return x;
}

/* Looks up the new items. expired: the generations of n_expired expired sessions whose ids they
 * take. */
static enum err find(struct sessions *s, struct request_ctx *ctx, struct session_import *items,
                     size_t n, int64_t *expired, size_t *n_expired)
{
    struct sv *ids = arena_array(ctx->arena, n, sizeof(*ids));
    struct db_param p[] = {db_text(ctx->tenant), {0}};
    struct db_rows rows;
    if (!ids)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        ids[i] = items[i].session.session_id;
    TRY(db_text_array(ctx, ids, n, &p[1]));
    TRY(db_query(s->db, ctx, DB_READ, &import_find, p, ARRAY_LEN(p), &rows, NULL));
    for (int row = 0; row < rows.count; row++) {
        struct session_import *item = &items[db_get_i64(&rows, row, db_column(&rows, "n")) - 1];
        const int64_t created = db_get_time(&rows, row, db_column(&rows, "created_at"));
        if (item->state != SESSION_IMPORT_NEW)
            continue;
        if (db_get_bool(&rows, row, db_column(&rows, "expired")))
            expired[(*n_expired)++] = db_get_i64(&rows, row, db_column(&rows, "generation"));
        else
            item->state = item->session.created_at == 0 || item->session.created_at == created
                              ? SESSION_IMPORT_THERE
                              : SESSION_IMPORT_OTHER;
    }
    return ERR_NONE;
}

static bool must_store(const struct session_import *item)
{
    return item->state == SESSION_IMPORT_NEW || item->state == SESSION_IMPORT_PART;
}

/* What one transaction stores. */
struct batch {
    struct session *made; /* each item's session afterwards */
    struct session_row *sessions;
    struct message_row *messages;
    size_t n_sessions, n_messages;
};

static enum err make_batch(struct sessions *s, struct request_ctx *ctx,
                           const struct session_import *items, size_t n, struct batch *b)
{
    *b = (struct batch){arena_zalloc(ctx->arena, n * sizeof(*b->made)),
                        arena_array(ctx->arena, n, sizeof(*b->sessions)),
                        arena_array(ctx->arena, SESSION_IMPORT_MAX, sizeof(*b->messages)), 0, 0};
    if (!b->made || !b->sessions || !b->messages)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++) {
        if (!must_store(&items[i]))
            continue;
        const struct session x = b->made[i] = session_after(s, &items[i]);
        if (items[i].state == SESSION_IMPORT_NEW)
            b->sessions[b->n_sessions++] = (struct session_row){x, x.sliding, items[i].is_last};
        for (size_t k = 0; k < x.n_messages; k++) {
            struct message_row *row = &b->messages[b->n_messages++];
            *row = (struct message_row){x.messages[k], x.generation};
            if (row->m.created_at == 0)
                row->m.created_at = x.created_at;
        }
    }
    return ERR_NONE;
}

enum {
    SESSION_PARAMS = 2 + ARRAY_LEN(session_columns),
    MESSAGE_PARAMS = 1 + ARRAY_LEN(message_columns)
};

static enum err store(struct sessions *s, struct request_ctx *ctx, struct session_import *items,
                      size_t n, struct db_failure *failure)
{
    int64_t expired[SESSION_IMPORT_MAX];
    size_t n_calls = 0, n_expired = 0;
    struct db_call calls[4];
    struct batch b;
    TRY(find(s, ctx, items, n, expired, &n_expired));
    TRY(make_batch(s, ctx, items, n, &b));
    struct db_param sessions[SESSION_PARAMS] = {db_text(ctx->tenant), sql_mark()},
                    messages[MESSAGE_PARAMS] = {db_text(ctx->tenant)},
                    take[] = {db_text(ctx->tenant), {0}};
    const struct session *x = &b.made[0];
    const struct db_param part[] = {db_text(ctx->tenant),
                                    db_i64(x->generation),
                                    db_i64(x->last_seq),
                                    db_i64(x->message_count),
                                    items[0].is_last ? db_i64(x->expires_at) : db_null_i64(),
                                    db_text(x->language)};
    if (n_expired > 0) {
        TRY(db_i64_array(ctx, expired, n_expired, &take[1]));
        calls[n_calls++] = (struct db_call){&import_expired, take, ARRAY_LEN(take), {0}};
    }
    if (items[0].state == SESSION_IMPORT_PART)
        calls[n_calls++] = (struct db_call){&import_continue, part, ARRAY_LEN(part), {0}};
    TRY(make_arrays(ctx, b.sessions, sizeof(*b.sessions), b.n_sessions, session_columns,
                    ARRAY_LEN(session_columns), &sessions[2]));
    TRY(make_arrays(ctx, b.messages, sizeof(*b.messages), b.n_messages, message_columns,
                    ARRAY_LEN(message_columns), &messages[1]));
    if (b.n_sessions > 0)
        calls[n_calls++] = (struct db_call){&import_sessions, sessions, SESSION_PARAMS, {0}};
    if (b.n_messages > 0)
        calls[n_calls++] = (struct db_call){&import_messages, messages, MESSAGE_PARAMS, {0}};
    if (n_calls > 0)
        TRY(db_batch(s->db, ctx, DB_WRITE, calls, n_calls, failure));
    for (size_t i = 0; i < n; i++)
        if (must_store(&items[i])) {
            items[i].session = b.made[i];
            items[i].state = items[i].is_last ? SESSION_IMPORT_STORED : SESSION_IMPORT_PART;
        }
    return ERR_NONE;
}

/* Finds why PostgreSQL refused an item that was alone: most often its id was taken since the
 * look-up. */
static enum err refuse(struct sessions *s, struct request_ctx *ctx, struct session_import *item,
                       const struct db_failure *failure)
{
    int64_t expired;
    size_t n_expired = 0;
    const char *why = failure->sqlstate;
    item->state = SESSION_IMPORT_NEW;
    TRY(find(s, ctx, item, 1, &expired, &n_expired));
    if (item->state != SESSION_IMPORT_NEW)
        return ERR_NONE;
    if (strcmp(why, DIVISION_BY_ZERO) == 0)
        why = "it was erased while it was imported";
    else if (strcmp(failure->constraint, "messages_message_id") == 0)
        why = "two of its messages have the same message_id";
    snprintf(item->why, sizeof(item->why), "%s%s",
             why == failure->sqlstate ? "PostgreSQL refuses it: SQLSTATE " : "", why);
    item->state = SESSION_IMPORT_REFUSED;
    return ERR_NONE;
}

enum err session_import(struct sessions *s, struct request_ctx *ctx, struct session_import *items,
                        size_t n)
{
    struct db_failure failure = {.sqlstate = ""};
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    const enum err e = store(s, ctx, items, n, &failure);
    const bool is_refused = strncmp(failure.sqlstate, "22", 2) == 0 || /* data exceptions */
                            strncmp(failure.sqlstate, "23", 2) == 0;   /* broken constraints */
    /* Two imports with other orders wait for each other: smaller transactions end that. */
    const bool is_locked = n > 1 && (strncmp(failure.sqlstate, "40", 2) == 0 ||
                                     strcmp(failure.sqlstate, "55P03") == 0);
    if (e == ERR_NONE || !(is_refused || is_locked))
        return e;
    ctx_clear_error(ctx);
    arena_rewind(ctx->arena, mark);
    if (n == 1)
        return refuse(s, ctx, items, &failure);
    TRY(session_import(s, ctx, items, n / 2));
    arena_rewind(ctx->arena, mark);
    return session_import(s, ctx, items + n / 2, n - n / 2);
}

enum err session_import_user_state(struct sessions *s, struct request_ctx *ctx,
                                   const struct session *state, bool *stored)
{
    const int64_t now = db_now_us(s->db);
    const int64_t created = state->created_at > 0 ? state->created_at : now;
    const bool expires = state->ttl_seconds > 0;
    struct db_rows rows;
    const struct db_param p[] = {db_text(ctx->tenant),
                                 db_text(state->user_id),
                                 db_text(state->context),
                                 sql_mark(),
                                 db_i64(created),
                                 db_i64(state->updated_at > 0 ? state->updated_at : created),
                                 expires ? db_i64(state->ttl_seconds) : db_null_i64(),
                                 !expires ? db_null_i64()
                                          : db_i64(state->expires_at > 0
                                                       ? state->expires_at
                                                       : now + state->ttl_seconds * 1000000)};
    TRY(db_query(s->db, ctx, DB_WRITE, &import_user_state, p, ARRAY_LEN(p), &rows, NULL));
    *stored = rows.count > 0;
    return ERR_NONE;
}
