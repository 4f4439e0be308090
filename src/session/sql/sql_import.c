/* SPDX-License-Identifier: MIT */
/* Import: looks up which sessions are there, and inserts the others in one transaction. */
#include "parley/session/import.h"

#include "sql_fragments.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/json/members.h"

/* clang-format off */
/* Frees the ids of expired sessions, as SQL_EXPIRED, and returns the sessions that are there. */
static const struct db_stmt import_find = {
    "import_find",
    "WITH q AS MATERIALIZED (SELECT q.n, s.* FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n) CROSS JOIN LATERAL"
    " (SELECT generation, created_at, expires_at <= now() AS expired FROM sessions WHERE tenant = $1"
    " AND session_id BETWEEN q.id AND q.id ORDER BY session_id LIMIT 1) s),"
    " u AS (UPDATE sessions s SET session_id =" SQL_TOMBSTONE_ID(SQL_DELETED) ", context = '{}', metadata = '{}',"
    " expiry_hour = 0 WHERE s.tenant = $1 AND s.generation = ANY(ARRAY(SELECT generation FROM q WHERE expired))"
    " AND s.expires_at <= now() AND NOT" SQL_IS_TOMBSTONE("s.session_id") ")"
    " SELECT n, created_at FROM q WHERE NOT expired"};

/* How long an abandoned hidden session waits for the sweeper. */
#define SQL_HIDDEN_UNTIL "now() + interval '10 minutes'"

/* $3: the last seq, $4: the count of messages. $5: when the session expires, if it is complete; else NULL.
 * Divides by zero, and so fails, if the hidden session was erased meanwhile: its messages would have no session.
 * A hidden session's language begins with ~: its change makes search index the messages, whose session was hidden
 * when they came. */
static const struct db_stmt import_continue = {
    "import_continue",
    "WITH u AS (UPDATE sessions SET last_seq = $3, message_count = $4,"
    " session_id = CASE WHEN $5 IS NULL THEN session_id ELSE" SQL_OWN_ID("session_id") "END,"
    " language = CASE WHEN $5 IS NULL THEN language ELSE substr(language, 2) END,"
    " expires_at = CASE WHEN $5 IS NULL THEN " SQL_HIDDEN_UNTIL " ELSE" SQL_AT("$5") "END,"
    " expiry_hour = " SQL_HOUR("CASE WHEN $5 IS NULL THEN " SQL_HIDDEN_UNTIL " ELSE" SQL_AT("$5") "END")
    " WHERE tenant = $1 AND generation = $2 AND" SQL_IS_HIDDEN("session_id") "AND expires_at > now() RETURNING 1)"
    " SELECT 1 / count(*) FROM u"};
#define DIVISION_BY_ZERO "22012"

/* $2: the mark. A session that is not whole yet is hidden. */
static const struct db_stmt import_sessions = {
    "import_sessions",
    "WITH x AS (SELECT i.*, CASE WHEN whole = 1 THEN" SQL_AT("expires") "ELSE " SQL_HIDDEN_UNTIL " END AS expires_at"
    " FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],"
    " $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],"
    " $19::text[], $20::text[], $21::text[], $22::text[])"
    " AS i(generation, ttl_seconds, sliding, created, updated, expires, last_seq, message_count, whole, session_id, user_id,"
    " language, context, metadata, forked_from, sum_seq, sum_content, sum_tokens, sum_stale, sum_created)),"
    " u AS (INSERT INTO summaries (tenant, generation, last_seq, content, tokens, stale, created_at)"
    " SELECT $1, generation, sum_seq::bigint, sum_content, nullif(sum_tokens, 'null')::integer, sum_stale::boolean,"
    " btrim(sum_created, '\"')::timestamptz FROM x WHERE sum_seq IS NOT NULL)"
    " INSERT INTO sessions (tenant, generation, session_id, user_id, language, context, metadata, ttl_seconds, sliding,"
    " created_at, updated_at, expires_at, expiry_hour, last_seq, message_count, mark, state_mark, forked_from)"
    " SELECT $1, generation, CASE WHEN whole = 1 THEN session_id ELSE E'" SQL_HIDDEN "' || generation || '~' || session_id END,"
    " user_id, CASE WHEN whole = 1 THEN language ELSE '~' || language END, context, metadata::jsonb, ttl_seconds, sliding = 1, "
    SQL_AT("created") ", " SQL_AT("updated") ", expires_at, " SQL_HOUR("expires_at") ", last_seq, message_count, $2::bigint,"
    " $2, forked_from FROM x"};

static const struct db_stmt import_messages = {
    "import_messages",
    SQL_INSERT_MESSAGES_INTO(", edited_at")
    "SELECT $1, i.generation, i.seq," SQL_DRAFT("i") ", " SQL_AT("i.created") ", CASE WHEN i.edited > 0 THEN " SQL_AT("i.edited") " END"
    " FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],"
    " $10::text[], $11::text[], $12::text[])"
    " AS i(generation, seq, created, edited, type, role, content, metadata, id, extra, tokens)"};

static const struct db_stmt import_user_state = {
    "import_user_state",
    "INSERT INTO user_states AS u (tenant, user_id, state, version, mark, created_at, updated_at, ttl_seconds, expires_at)"
    " VALUES ($1, $2, $3, 1, $4, " SQL_AT("$5") ", " SQL_AT("$6") ", $7, " SQL_AT("$8") ")"
    " ON CONFLICT (tenant, user_id) DO UPDATE SET state = $3, version = 1, mark = $4, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at, ttl_seconds = $7, expires_at = excluded.expires_at WHERE u.expires_at <= now()"};
/* clang-format on */

/* ---- rows as arrays, one for each column ---- */

struct session_row {
    struct session s;
    int64_t sliding, is_whole;
    struct sv summary[5]; /* its members */
};
static const char *const summary_members[] = {"last_seq", "content", "tokens", "stale",
                                              "created_at"};
#define OF(member) offsetof(struct session_row, member)
/* In the order of import_sessions: numbers, then texts. */
static const size_t session_columns[] = {
    OF(s.generation), OF(s.ttl_seconds), OF(sliding),         OF(s.created_at), OF(s.updated_at),
    OF(s.expires_at), OF(s.last_seq),    OF(s.message_count), OF(is_whole),     OF(s.session_id),
    OF(s.user_id),    OF(s.language),    OF(s.context),       OF(s.metadata),   OF(s.forked_from),
    OF(summary[0]),   OF(summary[1]),    OF(summary[2]),      OF(summary[3]),   OF(summary[4])};
static const size_t message_numbers[] = {offsetof(struct session_message, seq),
                                         offsetof(struct session_message, created_at),
                                         offsetof(struct session_message, edited_at)};
enum { SESSION_NUMBERS = 9, MESSAGE_NUMBERS = ARRAY_LEN(message_numbers) };

static enum err make_arrays(struct request_ctx *ctx, const void *rows, size_t size, size_t n,
                            const size_t *columns, size_t n_numbers, size_t n_columns,
                            struct db_param *out)
{
    struct sv *texts = arena_array(ctx->arena, n, sizeof(*texts));
    int64_t *numbers = arena_array(ctx->arena, n, sizeof(*numbers));
    if (!texts || !numbers)
        return ctx_nomem(ctx);
    for (size_t k = 0; k < n_columns; k++) {
        for (size_t i = 0; i < n; i++) {
            const char *value = (const char *)rows + i * size + columns[k];
            if (k < n_numbers)
                memcpy(&numbers[i], value, sizeof(numbers[i]));
            else
                memcpy(&texts[i], value, sizeof(texts[i]));
        }
        TRY(k < n_numbers ? db_i64_array(ctx, numbers, n, &out[k])
                          : db_text_array(ctx, texts, n, &out[k]));
    }
    return ERR_NONE;
}

/* ---- what is stored ---- */

/* Looks up the new items. */
static enum err find(struct sessions *s, struct request_ctx *ctx, struct session_import *items,
                     size_t n, struct db_failure *failure)
{
    struct sv *ids = arena_array(ctx->arena, n, sizeof(*ids));
    struct db_param p[] = {db_text(ctx->tenant), {0}};
    struct db_rows rows;
    if (!ids)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        ids[i] = items[i].session.session_id;
    TRY(db_text_array(ctx, ids, n, &p[1]));
    TRY(db_query(s->db, ctx, DB_WRITE, &import_find, p, ARRAY_LEN(p), &rows, failure));
    for (int row = 0; row < rows.count; row++) {
        struct session_import *item = &items[db_get_i64(&rows, row, db_column(&rows, "n")) - 1];
        const int64_t created = item->session.created_at;
        if (item->state != SESSION_IMPORT_NEW)
            continue;
        item->state = SESSION_IMPORT_THERE;
        if (created == 0 || created == db_get_time(&rows, row, db_column(&rows, "created_at")))
            continue;
        item->state = SESSION_IMPORT_REFUSED;
        snprintf(item->why, sizeof(item->why), "another session has this id, and stays as it is");
    }
    return ERR_NONE;
}

static bool must_store(const struct session_import *item)
{
    return item->state == SESSION_IMPORT_NEW || item->state == SESSION_IMPORT_PART;
}

/* What one transaction stores. */
struct batch {
    struct session_row *sessions; /* the part, then the new ones */
    struct session_message *messages;
    int64_t *generations; /* of the messages */
    size_t n_sessions, n_messages;
};

/* The item's session keeps what its file says: what is made here would not be the same again in
 * another import, or in the next part. */
static void add_to_batch(struct sessions *s, struct session_import *item, struct batch *b)
{
    const struct sql_drafts drafts = {item->session.messages, item->session.n_messages};
    if (item->state == SESSION_IMPORT_NEW)
        item->session.generation = sql_new_generation(s, &(struct session_write){.drafts = drafts});
    struct session_row *row = &b->sessions[b->n_sessions++];
    struct session *x = &row->s;
    *row = (struct session_row){
        .s = item->session, .sliding = item->session.sliding, .is_whole = item->is_last};
    /* Not by PostgreSQL's operators, which refuse texts such as "\\u0000". */
    for (size_t k = 0; k < ARRAY_LEN(summary_members); k++)
        row->summary[k] = json_member_get(x->summary, summary_members[k]);
    if (x->ttl_seconds == 0)
        x->ttl_seconds = s->settings.ttl_seconds;
    if (x->expires_at == SESSION_ANY_TIME)
        x->expires_at = db_now_us(s->db) + x->ttl_seconds * 1000000;
    if (x->created_at == 0)
        x->created_at = db_now_us(s->db);
    if (x->updated_at == 0)
        x->updated_at = x->created_at;
    for (size_t k = 0; k < x->n_messages; k++, b->n_messages++) {
        struct session_message *m = &b->messages[b->n_messages];
        *m = x->messages[k];
        m->created_at = m->created_at == 0 ? x->created_at : m->created_at;
        b->generations[b->n_messages] = x->generation;
    }
}

enum {
    SESSION_PARAMS = 2 + ARRAY_LEN(session_columns),
    MESSAGE_PARAMS = 2 + MESSAGE_NUMBERS + SQL_MESSAGE_PARAMS
};

static enum err store(struct sessions *s, struct request_ctx *ctx, struct session_import *items,
                      size_t n, struct db_failure *failure)
{
    struct db_call calls[3];
    size_t n_calls = 0;
    struct batch b = {arena_zalloc(ctx->arena, n * sizeof(*b.sessions)),
                      arena_array(ctx->arena, SESSION_IMPORT_MAX, sizeof(*b.messages)),
                      arena_array(ctx->arena, SESSION_IMPORT_MAX, sizeof(*b.generations)), 0, 0};
    if (!b.sessions || !b.messages || !b.generations)
        return ctx_nomem(ctx);
    TRY(find(s, ctx, items, n, failure));
    for (size_t i = 0; i < n; i++)
        if (must_store(&items[i]))
            add_to_batch(s, &items[i], &b);
    const bool continues = items[0].state == SESSION_IMPORT_PART;
    const struct session *x = &b.sessions[0].s;
    struct db_param sessions[SESSION_PARAMS] = {db_text(ctx->tenant), sql_mark()},
                    messages[MESSAGE_PARAMS] = {db_text(ctx->tenant)};
    const struct db_param part[] = {db_text(ctx->tenant), db_i64(x->generation),
                                    db_i64(x->last_seq), db_i64(x->message_count),
                                    items[0].is_last ? db_i64(x->expires_at) : db_null_i64()};
    TRY(make_arrays(ctx, b.sessions + continues, sizeof(*b.sessions), b.n_sessions - continues,
                    session_columns, SESSION_NUMBERS, ARRAY_LEN(session_columns), &sessions[2]));
    TRY(db_i64_array(ctx, b.generations, b.n_messages, &messages[1]));
    TRY(make_arrays(ctx, b.messages, sizeof(*b.messages), b.n_messages, message_numbers,
                    MESSAGE_NUMBERS, MESSAGE_NUMBERS, &messages[2]));
    TRY(sql_message_arrays(ctx, b.messages, b.n_messages, &messages[2 + MESSAGE_NUMBERS]));
    if (continues)
        calls[n_calls++] = (struct db_call){&import_continue, part, ARRAY_LEN(part), {0}};
    if (b.n_sessions > continues)
        calls[n_calls++] = (struct db_call){&import_sessions, sessions, SESSION_PARAMS, {0}};
    if (b.n_messages > 0)
        calls[n_calls++] = (struct db_call){&import_messages, messages, MESSAGE_PARAMS, {0}};
    if (n_calls > 0)
        TRY(db_batch(s->db, ctx, DB_WRITE, calls, n_calls, failure));
    for (size_t i = 0; i < n; i++)
        if (must_store(&items[i]))
            items[i].state = items[i].is_last ? SESSION_IMPORT_STORED : SESSION_IMPORT_PART;
    return ERR_NONE;
}

/* Finds why PostgreSQL refused an item that was alone: most often its id was taken since the
 * look-up. */
static enum err refuse(struct sessions *s, struct request_ctx *ctx, struct session_import *item,
                       const struct db_failure *failure)
{
    const char *why = strcmp(failure->sqlstate, DIVISION_BY_ZERO) == 0
                          ? "it was erased while it was imported"
                      : strcmp(failure->constraint, "messages_message_id") == 0
                          ? "two of its messages have the same message_id"
                          : NULL;
    item->state = SESSION_IMPORT_NEW;
    TRY(find(s, ctx, item, 1, NULL));
    if (item->state != SESSION_IMPORT_NEW)
        return ERR_NONE;
    item->state = SESSION_IMPORT_REFUSED;
    snprintf(item->why, sizeof(item->why), "%s%s", why ? why : "PostgreSQL refuses it: SQLSTATE ",
             why ? "" : failure->sqlstate);
    return ERR_NONE;
}

enum err session_import(struct sessions *s, struct request_ctx *ctx, struct session_import *items,
                        size_t n)
{
    struct db_failure failure = {.sqlstate = ""};
    const int time_ms = deadline_left_ms(ctx->deadline); /* for each part, too */
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
    ctx->deadline = deadline_in_ms(time_ms);
    if (n == 1)
        return refuse(s, ctx, items, &failure);
    TRY(session_import(s, ctx, items, n / 2));
    arena_rewind(ctx->arena, mark);
    ctx->deadline = deadline_in_ms(time_ms);
    return session_import(s, ctx, items + n / 2, n - n / 2);
}

enum err session_import_user_state(struct sessions *s, struct request_ctx *ctx,
                                   const struct session *state, bool *stored)
{
    const int64_t now = db_now_us(s->db);
    const int64_t created = state->created_at > 0 ? state->created_at : now;
    const int64_t expires = state->expires_at == SESSION_ANY_TIME
                                ? now + state->ttl_seconds * 1000000
                                : state->expires_at;
    const bool stays = state->ttl_seconds == 0;
    struct db_rows rows;
    const struct db_param p[] = {db_text(ctx->tenant),
                                 db_text(state->user_id),
                                 db_text(state->context),
                                 sql_mark(),
                                 db_i64(created),
                                 db_i64(state->updated_at > 0 ? state->updated_at : created),
                                 stays ? db_null_i64() : db_i64(state->ttl_seconds),
                                 stays ? db_null_i64() : db_i64(expires)};
    TRY(db_query(s->db, ctx, DB_WRITE, &import_user_state, p, ARRAY_LEN(p), &rows, NULL));
    *stored = rows.count > 0;
    return ERR_NONE;
}
