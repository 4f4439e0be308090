/* SPDX-License-Identifier: MIT */
/* Updates: messages put and removed by id, with the context or without. */
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "parley/base/uuid.h"
#include "hosts.h"
#include "edits.h"

/* ---- updates that succeed ---- */

/* The update is made; its receipt says what is there now. */
static void made(struct fixture *w, const char *id, const char *edits, const char *context)
{
    OK(edits_run(w, id, edits, context, &nobody));
    CU_ASSERT_EQUAL(w->at, SESSION_MESSAGES_MAX);
    OK(fixture_get_as(w, "t1", id, NULL, 0));
    CU_ASSERT_TRUE(w->r.version == w->s.version && w->r.state_version == w->s.state_version &&
                   w->r.message_count == w->s.message_count && w->r.generation == w->s.generation &&
                   w->r.at == w->s.updated_at && w->r.expires_at == w->s.expires_at &&
                   w->r.status == 200);
}

/* "1:a=1 3:b=2", ids of the made form as "~". */
static void expect(struct fixture *w, const char *id, const char *want)
{
    char got[512] = "";
    size_t n = 0;
    uint64_t generation, seq;
    const struct session s = edits_state(w, id);
    for (size_t i = 0; i < s.n_messages; i++) {
        const struct session_message *m = &s.messages[i];
        const struct sv name =
            uuid_v8_unpack(m->message_id, &generation, &seq) ? SV("~") : m->message_id;
        n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%lld:%.*s=%.*s", i ? " " : "",
                              (long long)m->seq, SV_ARG(name), SV_ARG(m->content));
    }
    CU_ASSERT_STRING_EQUAL(got, want);
    if (strcmp(got, want) != 0)
        fprintf(stderr, "%s: %s, and not %s\n", id, got, want);
    CU_ASSERT_EQUAL(s.message_count, (int64_t)s.n_messages);
    CU_ASSERT_EQUAL(
        fixture_rows("messages m WHERE m.generation = %lld AND"
                     " m.size <> octet_length(m.content) + octet_length(m.metadata::text)"
                     " + coalesce(octet_length(m.extra), 0)",
                     (long long)s.generation),
        0);
}

/* Three messages: a, one without an id, b with metadata. */
static void make(struct fixture *w, const char *id)
{
    struct session_message m[3] = {message_of("user", "1"), message_of("user", "2"),
                                   message_of("user", "3")};
    struct session_draft d = draft_with(id, "u1", m, 3);
    m[0].message_id = SV("a");
    m[2].message_id = SV("b");
    m[2].metadata = SV("{\"k\": 1}");
    d.context = SV("{\"topic\":1}");
    OK(fixture_create(w, "t1", &d, &nobody));
}

static void expect_versions(struct fixture *w, const char *id, int64_t version, int64_t state)
{
    const struct session s = edits_state(w, id);
    CU_ASSERT_EQUAL(s.version, version);
    CU_ASSERT_EQUAL(s.state_version, state);
}

struct step {
    const char *edits; /* @: the id that was made for the second message */
    const char *want, *context;
    int64_t version, state; /* 0: whatever they are */
};

static void run(struct fixture *w, const char *id, const struct step *steps, size_t n)
{
    char second[UUID_LEN + 1];
    uuid_v8_pack((uint64_t)edits_state(w, id).generation, 2, second);
    for (const struct step *x = steps; x < steps + n; x++) {
        const size_t at = strcspn(x->edits, "@");
        made(w, id,
             x->edits[at] ? text_of("%.*s%s%s", (int)at, x->edits, second, x->edits + at + 1)
                          : x->edits,
             x->context);
        expect(w, id, x->want);
        if (x->version > 0)
            expect_versions(w, id, x->version, x->state);
    }
}

/* Fails if a message that is put in place of another gets a new seq or new metadata, if its size is
 * not reckoned anew, if a removal is not counted, or if a message without an id goes unfound by the
 * id that was made for it: tried. */
static void puts_and_removals(void)
{
    static const struct step steps[] = {
        {"+a=10 +c=4 +=5 +b=30", "1:a=10 2:~=2 3:b=30 4:c=4 5:~=5", NULL, 0, 0},
        {"+@=20", "1:a=10 2:~=20 3:b=30 4:c=4 5:~=5", NULL, 0, 0},
        {"-@ -a ?nobody ?c", "3:b=30 5:~=5", NULL, 0, 0},
        {"+a=6", "3:b=30 5:~=5 6:a=6", NULL, 0, 0}, /* a number is never given again */
        {"", "3:b=30 5:~=5 6:a=6", NULL, 0, 0}};
    struct fixture *w = fixture_open(true);
    make(w, "u:edit");
    expect(w, "u:edit", "1:a=1 2:~=2 3:b=3");
    run(w, "u:edit", steps, ARRAY_LEN(steps));
    CU_ASSERT_TRUE(sv_eq(edits_state(w, "u:edit").messages[0].metadata, SV("{\"k\": 1}")));
    fixture_close(w);
}

/* A content that jsonb refuses, as an older parley stored it, can be replaced. Fails if it is cast
 * to jsonb: tried. */
static void what_is_no_json(void)
{
    struct fixture *w = fixture_open(true);
    make(w, "u:none");
    fixture_exec("UPDATE messages SET content = '0e2147483647', size = size + 11"
                 " WHERE message_id = 'a' AND generation ="
                 " (SELECT generation FROM sessions WHERE session_id = 'u:none')");
    made(w, "u:none", "+a=7", NULL);
    expect(w, "u:none", "1:a=7 2:~=2 3:b=3");
    fixture_close(w);
}

/* A clear removes all messages and frees their ids for the new ones. Fails if cleared messages are
 * not counted, or if they are looked up as if they were still there: tried. */
static void clearing(void)
{
    static const struct step steps[] = {{"! +b=1 +=2 +@=3", "4:b=1 5:~=2 6:~=3", NULL, 0, 0},
                                        {"! +b=1 +=2 +@=3", "7:b=1 8:~=2 9:~=3", NULL, 0, 0},
                                        {"!", "", NULL, 0, 0}};
    char second[UUID_LEN + 1];
    struct fixture *w = fixture_open(true);
    make(w, "u:clear");
    uuid_v8_pack((uint64_t)edits_state(w, "u:clear").generation, 2, second);
    run(w, "u:clear", steps, 2);
    OK(fixture_message(w, "t1", "u:clear", NULL, second));
    CU_ASSERT_EQUAL(w->m.seq, 9);
    run(w, "u:clear", steps + 2, 1);
    CU_ASSERT_EQUAL(edits_state(w, "u:clear").last_seq, 9);
    fixture_close(w);
}

static int64_t first_row(int64_t generation)
{
    return fixture_count("SELECT xmin::text::bigint FROM messages WHERE seq = 1 AND generation ="
                         " %lld",
                         (long long)generation);
}

/* Fails if every update changes the state, or if a row is written that stays as it was: tried. */
static void versions(void)
{
    static const char five[] = "1:a=1 2:~=2 3:b=3 4:c=4 5:~=5",
                      changed[] = "1:a=2 2:~=2 3:b=3 4:c=4 5:~=5";
    static const struct step steps[] = {{"+c=4 +=5", five, NULL, 2, 1}, /* only appends */
                                        {"+a=1", five, NULL, 3, 1},     /* no change */
                                        {"+a=1.0", five, NULL, 4, 1},   /* written differently */
                                        {"+a=2", changed, NULL, 5, 2},
                                        {"?nobody", changed, NULL, 6, 2},
                                        {"-c", "1:a=2 2:~=2 3:b=3 5:~=5", NULL, 7, 3},
                                        {"!", "", NULL, 8, 4},
                                        {"", "", "{}", 9, 4},
                                        {"", "", "{\"topic\":1}", 10, 4},
                                        {"", "", "{\"topic\":2}", 11, 5}};
    struct fixture *w = fixture_open(true);
    make(w, "u:versions");
    const int64_t generation = w->s.generation, row = first_row(generation);
    run(w, "u:versions", steps, 2);
    CU_ASSERT_EQUAL(first_row(generation), row);
    run(w, "u:versions", steps + 2, ARRAY_LEN(steps) - 2);
    fixture_close(w);
}

static void contexts(void)
{
    static char large[(1 << 20) + 64];
    struct fixture *w = fixture_open(true);
    make(w, "u:context");
    made(w, "u:context", "+c=4", "{\"other\":{\"x\":1}}");
    CU_ASSERT_TRUE(
        sv_eq(edits_state(w, "u:context").context, SV("{\"topic\":1,\"other\":{\"x\":1}}")));
    made(w, "u:context", "-c", "{\"other\":{\"y\":null},\"topic\":null}");
    CU_ASSERT_TRUE(
        sv_eq(edits_state(w, "u:context").context, SV("{\"topic\":null,\"other\":{\"y\":null}}")));
    memset(large, 'x', sizeof(large) - 1);
    memcpy(large, "{\"l\":\"", 6);
    memcpy(large + sizeof(large) - 3, "\"}", 2);
    CU_ASSERT_EQUAL(edits_run(w, "u:context", "-a", large, &nobody), ERR_TOO_LARGE);
    CU_ASSERT_STRING_EQUAL(w->ctx.err.field, "context");
    expect(w, "u:context", "1:a=1 2:~=2 3:b=3");
    fixture_close(w);
}

/* ---- updates that fail ---- */

/* An update is done as a whole or not at all. Fails if a fault of one edit does not stop the
 * others, or if an id is accepted that will be made later: tried. */
static void all_or_nothing(void)
{
    char future[UUID_LEN + 1];
    struct fixture *w = fixture_open(true);
    make(w, "u:nothing");
    const struct session before = edits_state(w, "u:nothing");
    uuid_v8_pack((uint64_t)before.generation, 5, future);
    const char *edits = text_of("+=1 +%s=2", future);
    const struct {
        const char *edits;
        enum err e;
        size_t at;
        const char *slug;
    } t[] = {{"+a=9 -b -nobody -neither +c=4", ERR_INVALID, 2, "no_such_message"},
             {"! -a", ERR_INVALID, 0, "no_such_message"},
             {edits, ERR_CONFLICT, 1, "message_id_taken"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        for (int context = 0; context < 2; context++) {
            CU_ASSERT_EQUAL(
                edits_run(w, "u:nothing", t[i].edits, context ? "{\"topic\":2}" : NULL, &nobody),
                t[i].e);
            CU_ASSERT_EQUAL(w->at, t[i].at);
            CU_ASSERT_STRING_EQUAL(w->ctx.err.slug ? w->ctx.err.slug : "", t[i].slug);
        }
    }
    expect(w, "u:nothing", "1:a=1 2:~=2 3:b=3");
    expect_versions(w, "u:nothing", 1, 1);
    CU_ASSERT_TRUE(sv_eq(edits_state(w, "u:nothing").context, SV("{\"topic\":1}")));
    fixture_close(w);
}

/* Another user's session, an expired one, and one that has changed. */
static void conditions(void)
{
    static const struct session_precondition u2 = {.user = SV_INIT("u2")};
    struct sv current[HOSTS_TAGS];
    struct edits s;
    struct fixture *w = fixture_open(true);
    struct arena *tags = arena_create(1 << 16);
    make(w, "u:conditions");
    const long long generation = edits_state(w, "u:conditions").generation;
    const struct sv old[] = {SV("1.v1"), SV("none")};
    const struct session_target foreign = {SV("u:conditions"), &nobody, &w->r};
    const struct session_precondition stale = {.if_match = old, .n_if_match = 2};
    for (int context = 0; context < 2; context++) {
        const char *c = context ? "{\"topic\":2}" : NULL;
        CU_ASSERT_EQUAL(edits_run(w, "u:conditions", "-a", c, &stale), ERR_PRECONDITION);
        CU_ASSERT_EQUAL(edits_run(w, "u:conditions", "-a", c, &u2), ERR_NOT_FOUND);
        CU_ASSERT_EQUAL(edits_run(w, "u:absent", "-a", c, &stale), ERR_NOT_FOUND);
        edits_read(&s, "-a", c);
        CU_ASSERT_EQUAL(
            session_update(w->sessions, fixture_request(w, "t2"), &foreign, &s.update, &w->at),
            ERR_NOT_FOUND);
    }
    expect_versions(w, "u:conditions", 1, 1);
    for (int context = 0; context < 2; context++) {
        const struct session now = edits_state(w, "u:conditions");
        hosts_tags(tags, &now, current);
        const struct session_precondition holds = {.if_match = &current[context], .n_if_match = 1};
        OK(edits_run(w, "u:conditions", context ? "-b" : "-a", context ? "{\"topic\":2}" : NULL,
                     &holds));
    }
    expect(w, "u:conditions", "2:~=2");
    fixture_expire("u:conditions");
    CU_ASSERT_EQUAL(edits_run(w, "u:conditions", "!", NULL, &nobody), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE generation = %lld", generation), 1);
    arena_destroy(tags);
    fixture_close(w);
}

/* Fails if a removal that cannot be repeated is refused before its key is looked up: tried. */
static void keys(void)
{
    struct session_precondition keyed = {.key = SV("k-update"), .fingerprint = SV("f1")};
    struct fixture *w = fixture_open(true);
    make(w, "u:key");
    for (int context = 0; context < 2; context++) {
        const char *c = context ? "{\"topic\":2}" : NULL;
        keyed.key = context ? SV("k-update-2") : SV("k-update-1");
        OK(edits_run(w, "u:key", context ? "-b +=6" : "-a +=5", c, &keyed));
        const struct session_receipt first = w->r;
        made(w, "u:key", "?nobody", NULL);
        OK(edits_run(w, "u:key", context ? "-b +=6" : "-a +=5", c, &keyed));
        const struct session_receipt *again = &w->r;
        CU_ASSERT_TRUE(!first.replayed && again->replayed);
        CU_ASSERT_TRUE(first.version == again->version && first.generation == again->generation &&
                       first.message_count == again->message_count && first.at == again->at &&
                       first.status == again->status && sv_eq(again->session_id, SV("u:key")));
        const struct session_precondition other = {.key = keyed.key, .fingerprint = SV("f2")};
        CU_ASSERT_EQUAL(edits_run(w, "u:key", "+=7", c, &other), ERR_KEY_REUSED);
    }
    expect(w, "u:key", "2:~=2 4:~=5 5:~=6");
    fixture_close(w);
}

SUITE(session_update, "session/update", {"puts and removals", puts_and_removals},
      {"what is no JSON", what_is_no_json}, {"clearing", clearing}, {"versions", versions},
      {"contexts", contexts}, {"all or nothing", all_or_nothing}, {"conditions", conditions},
      {"keys", keys})
