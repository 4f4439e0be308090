/* SPDX-License-Identifier: MIT */
/* A member of a batch is answered and stored as a single write is, whatever the others do. */
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "batches.h"

/* ---- as a single write ---- */

enum { WRITERS = 8, ANSWER = 4096 };

/* An append to a session of three messages, or a create. */
struct row {
    size_t n; /* messages, all alike */
    const char *type, *role, *content, *metadata, *extra;
    bool has_key;
    const char *context, *of_session; /* metadata of the session */
    int64_t ttl;
    bool absolute;
};

#define PLAIN "message", "user", "\"x\"", "{}", NULL
#define CALL  "function_call", NULL, NULL, "{}", "{\"name\":\"f\",\"arguments\":\"{}\"}"
static const struct row appends[WRITERS] = {
    {.n = 1, PLAIN},
    {.n = 3, PLAIN, .has_key = true},
    {.n = 2, CALL, .has_key = true},
    {.n = 1, "message", "tool", "[1]", "{\"b\":1, \"a\":2}", NULL},
    {.n = 1, PLAIN},
    {.n = 10, PLAIN, .has_key = true},
    {.n = 2, "message", "user", "\"é\"", "{}", "{\"name\":\"n\"}"},
    {.n = 1, PLAIN, .has_key = true},
};
static const struct row creates[WRITERS] = {
    {.n = 0, .has_key = true},
    {.n = 1, PLAIN},
    {.n = 3, PLAIN, .has_key = true},
    {.n = 2, CALL, .of_session = "{\"b\":1, \"a\":2}"},
    {.n = 1, "message", "tool", "[1]", "{\"b\":1, \"a\":2}", NULL, .has_key = true},
    {.n = 1, PLAIN, .ttl = 60, .absolute = true},
    {.n = 0, .context = "{\"c\": [1, 2]}"},
    {.n = 1, PLAIN, .has_key = true, .ttl = 90},
};

static int put_messages(char *out, int at, const struct session_message *m, size_t n)
{
    for (size_t i = 0; i < n && at < ANSWER; i++)
        at += snprintf(out + at, (size_t)(ANSWER - at), " [%lld %.*s %.*s %.*s %.*s %.*s]",
                       (long long)m[i].seq, SV_ARG(m[i].type), SV_ARG(m[i].role),
                       SV_ARG(m[i].content), SV_ARG(m[i].metadata), SV_ARG(m[i].extra));
    return at;
}

/* The answer without ids and times. */
static void print_answer(const struct fixture *c, bool create, char out[ANSWER])
{
    const struct session_receipt *r = &c->r;
    int at = snprintf(out, ANSWER, "%d v%lld s%lld n%lld %lld-%lld %d%d%d", r->status,
                      (long long)r->version, (long long)r->state_version,
                      (long long)r->message_count, (long long)r->first_seq, (long long)r->last_seq,
                      r->created, r->superseded, r->replayed);
    if (create) {
        at += snprintf(out + at, (size_t)(ANSWER - at), " %.*s %.*s %.*s %lld",
                       SV_ARG(c->s.language), SV_ARG(c->s.context), SV_ARG(c->s.metadata),
                       (long long)(c->s.expires_at - c->s.created_at) / 1000000);
        put_messages(out, at, c->s.messages, c->s.n_messages);
    }
}

/* of: the owner, and part of the id and of the key. */
static enum err write_row(struct fixture *c, const struct row *row, bool create, const char *of,
                          char out[ANSWER])
{
    struct session_message m[10];
    const struct session_append a = {m, row->n, false};
    struct session_precondition p = row->has_key ? keyed(of) : nobody;
    struct session_draft d = draft_with(NULL, of, m, row->n);
    for (size_t i = 0; i < row->n; i++)
        m[i] = (struct session_message){.type = sv_from(row->type),
                                        .role = sv_from(row->role),
                                        .content = sv_from(row->content),
                                        .metadata = sv_from(row->metadata),
                                        .extra = sv_from(row->extra)};
    if (row->context)
        d.context = sv_from(row->context);
    if (row->of_session)
        d.metadata = sv_from(row->of_session);
    d.ttl_seconds = row->ttl;
    d.sliding = !row->absolute;
    if (!create)
        p.user = sv_from(of);
    const enum err e = create ? fixture_create(c, "t1", &d, &p)
                              : fixture_append(c, "t1", text_of("b:%s", of), &a, &p);
    print_answer(c, create, out);
    return e;
}

static char answers[WRITERS][ANSWER];

static const char *owner_of(const struct batches *b, const char *how, int me)
{
    return text_of("%s-%s-%d", b->creates ? "c" : "a", how, me);
}

static void write_one_of_many(struct batches *b, struct fixture *c, int me)
{
    const struct row *row = b->creates ? &creates[me] : &appends[me];
    batches_wrote(b, c, me, write_row(c, row, b->creates, owner_of(b, "many", me), answers[me]));
}

static void make_sessions(struct batches *b, const char *how)
{
    for (int me = 0; me < WRITERS; me++) {
        const char *of = owner_of(b, how, me);
        fixture_exec("DELETE FROM idempotency_keys WHERE key = '%s'", of);
        fixture_exec("DELETE FROM messages m USING sessions s WHERE m.tenant = s.tenant AND"
                     " m.generation = s.generation AND user_id = '%s'",
                     of);
        fixture_exec("DELETE FROM sessions WHERE user_id = '%s'", of);
        if (!b->creates)
            fixture_make(b->threads.w, "t1", text_of("b:%s", of), of, 3, "\"old\"", &nobody);
    }
}

/* What PostgreSQL has of an owner, without ids and times, as text. */
static void read_rows(const char *of, char out[ANSWER])
{
    CU_ASSERT_TRUE(fixture_sql(
        text_of(
            "SELECT string_agg(r::text, ';' ORDER BY r.seq) FROM (SELECT version, state_version,"
            " last_seq, s.message_count, language, context, s.metadata, ttl_seconds, sliding,"
            " round(extract(epoch FROM s.expires_at - updated_at)), seq, message_id, type, role,"
            " content, m.metadata, extra, size FROM sessions s LEFT JOIN messages m"
            " USING (tenant, generation) WHERE user_id = '%s') r",
            of),
        out, ANSWER));
    const size_t n = strlen(out);
    CU_ASSERT_TRUE(fixture_sql(
        text_of("SELECT (first_seq, k.last_seq, k.message_count, status, k.version,"
                " k.state_version, state, k.mark = s.mark, k.generation = s.generation, k.user_id ="
                " s.user_id) FROM idempotency_keys k JOIN sessions s"
                " ON s.user_id = k.key WHERE key = '%s'",
                of),
        out + n, ANSWER - n));
}

static uint32_t meet_as_single(struct batches *b)
{
    static char one[ANSWER], many[ANSWER];
    struct fixture *w = b->threads.w;
    make_sessions(b, "many");
    make_sessions(b, "one");
    const uint32_t size = batches_meet(b, WRITERS, write_one_of_many);
    for (int me = 0; me < WRITERS; me++) {
        const char *of = owner_of(b, "one", me);
        CU_ASSERT_EQUAL(b->err[me], ERR_NONE);
        OK(write_row(w, b->creates ? &creates[me] : &appends[me], b->creates, of, one));
        CU_ASSERT_STRING_EQUAL(answers[me], one);
        read_rows(of, one);
        read_rows(owner_of(b, "many", me), many);
        CU_ASSERT_STRING_EQUAL(many, one);
    }
    return size;
}

/* Fails if a batch counts the size of a message without its extra, or keeps no user in a record:
 * tried. */
static void answered_as_alone(void)
{
    for (int i = 0; i < 2; i++) {
        struct batches *b = batches_open(false);
        b->creates = i > 0;
        BATCHES_UNTIL(WRITERS, meet_as_single(b));
        batches_close(b);
    }
}

/* ---- bad members ---- */

struct bad {
    const char *id, *user, *key, *fingerprint, *metadata, *message_id;
    enum err err;
    bool replayed;
};

static const struct bad bad_rows[] = {
    {.id = "b:absent", .err = ERR_NOT_FOUND},
    {.id = "b:expired", .err = ERR_NOT_FOUND},
    {.id = "b:bad", .user = "another", .err = ERR_NOT_FOUND},
    {.id = "b:bad", .key = "bad-known", .fingerprint = "f", .replayed = true},
    {.id = "b:bad", .key = "bad-known", .fingerprint = "other", .err = ERR_KEY_REUSED},
    {.id = "b:bad", .key = "bad-old", .fingerprint = "f"},
    {.id = "b:bad", .metadata = "{\"a\":\"\\u0000\"}", .err = ERR_INVALID},
    {.id = "b:bad", .message_id = "taken", .err = ERR_CONFLICT},
    {.id = "b:locked", .err = ERR_BUSY},
};
static const struct bad bad_creates[] = {
    {.id = "limit", .err = ERR_LIMITED},
    {.metadata = "{\"a\":\"\\u0000\"}", .err = ERR_INVALID},
    {.key = "bad-known", .fingerprint = "other", .err = ERR_KEY_REUSED},
    {.key = "bad-old", .fingerprint = "f"},
};
static const struct bad *bad; /* of the meeting */
static int meeting;

/* Writer 0 is the bad one. */
static void write_good_or_bad(struct batches *b, struct fixture *c, int me)
{
    static const struct bad good;
    const struct bad *row = me == 0 ? bad : &good;
    struct session_message m = message_of("user", text_of("\"g%d-%d\"", meeting, me));
    const struct session_append a = {&m, 1, false};
    struct session_draft d = draft_with(NULL, "b-good", &m, 1);
    const struct session_precondition p = {.user = sv_from(row->user),
                                           .key = sv_from(row->key),
                                           .fingerprint = sv_from(row->fingerprint)};
    m.message_id = sv_from(row->message_id);
    if (row->metadata)
        m.metadata = sv_from(row->metadata);
    c->sessions_max = b->creates && row->id ? 1 : 0;
    const char *id = row->id ? row->id : text_of("b:good-%d", me);
    batches_wrote(b, c, me,
                  b->creates ? fixture_create(c, "t1", &d, &p)
                             : fixture_append(c, "t1", id, &a, &p));
}

static uint32_t meet_a_bad_one(struct batches *b, const struct bad *row)
{
    bad = row;
    meeting++;
    fixture_exec("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
                 " WHERE key = 'bad-old'");
    const uint32_t size = batches_meet(b, WRITERS, write_good_or_bad);
    CU_ASSERT_EQUAL(b->err[0], row->err);
    CU_ASSERT_EQUAL(b->threads.receipts[0].replayed, row->replayed);
    for (int me = 1; me < WRITERS; me++)
        CU_ASSERT_EQUAL(b->err[me], ERR_NONE);
    const int stored = WRITERS - (row->err != ERR_NONE || row->replayed);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE content LIKE '\"g%d-%%'", meeting), stored);
    CU_ASSERT_EQUAL(fixture_count("SELECT count(DISTINCT content) FROM messages"
                                  " WHERE content LIKE '\"g%d-%%'",
                                  meeting),
                    stored);
    return size;
}

static void make_bad(struct fixture *w)
{
    const struct session_precondition known = keyed("bad-known"), old = keyed("bad-old");
    struct session_message m = message_of("user", "\"x\"");
    const struct session_append a = {&m, 1, false};
    m.message_id = SV("taken");
    fixture_make(w, "t1", "b:bad", "owner", 1, "\"x\"", &known);
    OK(fixture_append(w, "t1", "b:bad", &a, &old));
    fixture_make(w, "t1", "b:expired", NULL, 1, "\"x\"", &nobody);
    fixture_expire("b:expired");
    fixture_make(w, "t1", "b:locked", NULL, 1, "\"x\"", &nobody);
    for (int me = 1; me < WRITERS; me++)
        fixture_make(w, "t1", text_of("b:good-%d", me), NULL, 0, "", &nobody);
}

/* A member that no batch can have leaves WRITERS - 1. Fails if what the server refuses fails all
 * members: tests/mutants/batch-fails-as-a-whole. */
static void one_bad_member(void)
{
    struct batches *b = batches_open(true);
    make_bad(b->threads.w);
    b->n_late = 1;
    struct held_transaction *lock =
        transaction_hold("BEGIN; SELECT 1 FROM sessions WHERE session_id = 'b:locked' FOR UPDATE");
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++)
        BATCHES_UNTIL(WRITERS - 1, meet_a_bad_one(b, &bad_rows[i]));
    transaction_release(lock);
    b->creates = true;
    for (size_t i = 0; i < ARRAY_LEN(bad_creates); i++)
        BATCHES_UNTIL(WRITERS - 1, meet_a_bad_one(b, &bad_creates[i]));
    batches_close(b);
}

SUITE(session_batch_members, "session/batch_members", {"answered as alone", answered_as_alone},
      {"one bad member", one_bad_member})
