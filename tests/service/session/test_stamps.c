/* SPDX-License-Identifier: MIT */
/* Stamps: every write of the interface gives its session another one, tells it in its receipt, and
 * tells the same again to whoever repeats it. And generations: what they are made of. */
#include "cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "script.h"

/* A row of sessions, as PostgreSQL has it. */
struct row {
    int64_t generation, version, state_version, mark, state_mark, mark_before;
};

static struct row row_of(const char *id)
{
    char sql[256], text[256];
    struct row r = {0};
    snprintf(sql, sizeof(sql),
             "SELECT concat_ws(' ', generation, version, state_version, mark, state_mark,"
             " mark_before) FROM sessions WHERE session_id = '%s'",
             id);
    CU_ASSERT_TRUE(world_sql(sql, text, sizeof(text)));
    (void)sscanf(text, "%" SCNd64 "%" SCNd64 "%" SCNd64 "%" SCNd64 "%" SCNd64 "%" SCNd64,
                 &r.generation, &r.version, &r.state_version, &r.mark, &r.state_mark,
                 &r.mark_before);
    return r;
}

/* Does the write number n, on session id or making it; the session that it is about goes to name.
 */
typedef enum err write_fn(struct world *w, const char *id, const struct session_guard *guard,
                          struct session_receipt *r, char name[64]);

static enum err create_with(struct world *w, struct session_draft d,
                            const struct session_guard *guard, struct session_receipt *r,
                            char name[64])
{
    struct session s = {.version = 0};
    enum err e = session_create(w->sessions, world_request(w, "t1"), &d, guard, &s, r);
    snprintf(name, 64, "%.*s", SV_ARG(s.session_id));
    CU_ASSERT_TRUE(s.mark == r->mark && s.state_mark == r->state_mark);
    return e;
}

static enum err create_named(struct world *w, const char *id, const struct session_guard *guard,
                             struct session_receipt *r, char name[64])
{
    return create_with(w, draft_of(id, NULL), guard, r, name);
}

static enum err create_plain(struct world *w, const char *id, const struct session_guard *guard,
                             struct session_receipt *r, char name[64])
{
    struct session_message_draft m = message_of("user", "\"x\"");
    struct session_draft d = draft_of(NULL, NULL);
    (void)id;
    d.messages = &m;
    d.n_messages = 1;
    return create_with(w, d, guard, r, name);
}

static enum err create_many(struct world *w, const char *id, const struct session_guard *guard,
                            struct session_receipt *r, char name[64])
{
    struct session_message_draft m[3] = {message_of("user", "1"), message_of("user", "2"),
                                         message_of("user", "3")};
    struct session_draft d = draft_of(id, NULL);
    m[1].metadata = SV("{\"a\":1}");
    d.messages = m;
    d.n_messages = 3;
    return create_with(w, d, guard, r, name);
}

static enum err ensure(struct world *w, const char *id, const struct session_guard *guard,
                       struct session_receipt *r, char name[64])
{
    struct session s = {.version = 0};
    struct session_draft d = draft_of(id, NULL);
    (void)name;
    enum err e = session_get_or_create(w->sessions, world_request(w, "t1"), &d, guard, &s, r);
    /* Its answer has the session itself. */
    r->generation = s.generation;
    r->version = s.version;
    r->state_version = s.state_version;
    r->mark = s.mark;
    r->state_mark = s.state_mark;
    return e;
}

static enum err append_with(struct world *w, const char *id, size_t n, const char *metadata,
                            bool create, const struct session_guard *guard,
                            struct session_receipt *r)
{
    struct session_message_draft m[3];
    for (size_t i = 0; i < n; i++) {
        m[i] = message_of("user", "\"x\"");
        m[i].metadata = sv_from(metadata);
    }
    const struct session_append a = {m, n, create, create ? 5 : 0};
    return session_append(w->sessions, world_request(w, "t1"), sv_from(id), &a, guard, r);
}

#define APPEND(fn, n, metadata, create)                                                    \
    static enum err fn(struct world *w, const char *id, const struct session_guard *guard, \
                       struct session_receipt *r, char name[64])                           \
    {                                                                                      \
        (void)name;                                                                        \
        return append_with(w, id, n, metadata, create, guard, r);                          \
    }
APPEND(append_plain, 1, "{}", false)
APPEND(append_one, 1, "{\"a\":1}", false)
APPEND(append_many, 3, "{}", false)
APPEND(append_create, 1, "{}", true)

static enum err patch_with(struct world *w, const char *id, const struct session_patch *p,
                           const struct session_guard *guard, struct session_receipt *r)
{
    struct session s = {.version = 0};
    enum err e = session_patch(w->sessions, world_request(w, "t1"), sv_from(id), p, guard, &s, r);
    CU_ASSERT_TRUE(s.mark == r->mark && s.state_mark == r->state_mark);
    return e;
}

static enum err patch_context(struct world *w, const char *id, const struct session_guard *guard,
                              struct session_receipt *r, char name[64])
{
    (void)name;
    return patch_with(w, id, &(struct session_patch){.context = SV("{\"a\":1}")}, guard, r);
}

static enum err patch_ttl(struct world *w, const char *id, const struct session_guard *guard,
                          struct session_receipt *r, char name[64])
{
    (void)name;
    return patch_with(w, id, &(struct session_patch){.has_ttl = true, .ttl_seconds = 60}, guard, r);
}

static enum err patch_user(struct world *w, const char *id, const struct session_guard *guard,
                           struct session_receipt *r, char name[64])
{
    (void)name;
    return patch_with(w, id, &(struct session_patch){.has_user_id = true, .user_id = SV("u2")},
                      guard, r);
}

#define EDIT(fn, words, context)                                                           \
    static enum err fn(struct world *w, const char *id, const struct session_guard *guard, \
                       struct session_receipt *r, char name[64])                           \
    {                                                                                      \
        size_t at;                                                                         \
        (void)name;                                                                        \
        return script_run(w, id, words, context, guard, r, &at);                           \
    }
EDIT(edit_add, "+=1 +new=2", NULL)
EDIT(edit_replace, "+a=7", NULL)
EDIT(edit_remove, "-a", NULL)
EDIT(edit_clear, "! +=1", NULL)
EDIT(edit_context, "+=1", "{\"a\":2}")
EDIT(edit_nothing, "+a=1", NULL)

static enum err delete_message(struct world *w, const char *id, const struct session_guard *guard,
                               struct session_receipt *r, char name[64])
{
    (void)name;
    return session_message_delete(w->sessions, world_request(w, "t1"), sv_from(id), SV("1"), guard,
                                  r);
}

static enum err delete_message_by_id(struct world *w, const char *id,
                                     const struct session_guard *guard, struct session_receipt *r,
                                     char name[64])
{
    (void)name;
    return session_message_delete(w->sessions, world_request(w, "t1"), sv_from(id), SV("a"), guard,
                                  r);
}

static enum err copy(struct world *w, const char *id, const struct session_guard *guard,
                     struct session_receipt *r, char name[64])
{
    struct session s = {.version = 0};
    enum err e = session_copy(w->sessions, world_request(w, "t1"), sv_from(id), guard, &s, r);
    snprintf(name, 64, "%.*s", SV_ARG(s.session_id));
    CU_ASSERT_TRUE(s.mark == r->mark && s.state_mark == r->state_mark);
    return e;
}

static enum err delete (struct world *w, const char *id, const struct session_guard *guard,
                        struct session_receipt *r, char name[64]) {
    struct row was = row_of(id); snprintf(name, 64, "~%" PRId64 "~%s", was.generation, id);
    return session_delete(w->sessions, world_request(w, "t1"), sv_from(id), guard, r);
}

enum change { MAKES, APPENDS, STATE };
static const struct {
    const char *name;
    enum change change;
    bool made; /* the session is there before, with message "a" */
    write_fn *run;
} writes[] = {
    {"create-named", MAKES, false, create_named},
    {"create-plain", MAKES, false, create_plain},
    {"create-many", MAKES, false, create_many},
    {"ensure", MAKES, false, ensure},
    {"append-create", MAKES, false, append_create},
    {"copy", MAKES, true, copy},
    {"append-plain", APPENDS, true, append_plain},
    {"append-one", APPENDS, true, append_one},
    {"append-many", APPENDS, true, append_many},
    {"append-there", APPENDS, true, append_create},
    {"edit-add", APPENDS, true, edit_add},
    {"edit-nothing", APPENDS, true, edit_nothing},
    {"edit-replace", STATE, true, edit_replace},
    {"edit-remove", STATE, true, edit_remove},
    {"edit-clear", STATE, true, edit_clear},
    {"edit-context", STATE, true, edit_context},
    {"patch-context", STATE, true, patch_context},
    {"patch-ttl", STATE, true, patch_ttl},
    {"patch-user", STATE, true, patch_user},
    {"delete-message", STATE, true, delete_message},
    {"delete-by-id", STATE, true, delete_message_by_id},
    {"delete", APPENDS, true, delete}, /* its row is a tombstone: nobody asks for its state */
};

static const struct session_guard nobody = {.create_only = false};

static void prepare(struct world *w, const char *id)
{
    struct session_receipt r;
    size_t at;
    struct session s;
    cluster_make(w, id);
    CU_ASSERT_EQUAL(script_run(w, id, "+a=1", NULL, &nobody, &r, &at), ERR_NONE);
    CU_ASSERT_EQUAL(cluster_get(w, id, 20, &s), ERR_NONE); /* all caches are warm */
}

static bool same_stamps(const struct session_receipt *r, const struct row *row)
{
    return r->generation == row->generation && r->version == row->version &&
           r->state_version == row->state_version && (int64_t)r->mark == row->mark &&
           (int64_t)r->state_mark == row->state_mark;
}

/* What a write that went from one row to the other must have done. */
static void expect_change(enum change change, const struct row *before, const struct row *after,
                          const struct session_receipt *r)
{
    CU_ASSERT_TRUE(same_stamps(r, after));
    CU_ASSERT_TRUE(after->mark != 0 && after->mark != before->mark);
    if (change == MAKES) {
        CU_ASSERT_TRUE(after->generation > 0 && after->generation != before->generation);
        CU_ASSERT_TRUE(after->version == 1 && after->state_version == 1 && after->state_mark != 0);
        return;
    }
    CU_ASSERT_TRUE(after->generation == before->generation);
    CU_ASSERT_EQUAL(after->version, before->version + 1);
    CU_ASSERT_EQUAL(after->mark_before, before->mark);
    CU_ASSERT_EQUAL(r->mark_before, (uint64_t)before->mark);
    CU_ASSERT_EQUAL(after->state_version, before->state_version + (change == STATE));
    CU_ASSERT_EQUAL(after->state_mark, change == STATE ? after->mark : before->state_mark);
}

/* The next reads, of every host, have the entity tags of the receipt. */
static void expect_tags(struct cluster *c, const char *id, const struct session_receipt *r)
{
    struct world *const hosts[] = {&c->a, &c->b, &c->plain, &c->a};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct session s;
        CU_ASSERT_EQUAL(cluster_get(hosts[i], id, 20, &s), ERR_NONE);
        CU_ASSERT_TRUE(s.generation == r->generation && s.version == r->version &&
                       s.state_version == r->state_version && s.mark == r->mark &&
                       s.state_mark == r->state_mark);
    }
}

/* Without a key and with one, whose repetition gives the first stamps again. Fails if a statement
 * leaves out SQL_STAMP, if the state's mark changes with an append or stays with a patch, if a key
 * does not remember a mark, and if a replay tells the present ones: tried. */
static void every_write(void)
{
    struct cluster c;
    if (!cluster_open(&c))
        return;
    for (size_t i = 0; i < 2 * ARRAY_LEN(writes); i++) {
        const size_t k = i / 2;
        char id[64], name[64], key[32];
        struct session_receipt r = {.version = 0}, again = {.version = 0};
        snprintf(id, sizeof(id), "st:%s-%zu", writes[k].name, i % 2);
        snprintf(name, sizeof(name), "%s", id);
        snprintf(key, sizeof(key), "st-key-%zu", k);
        const struct session_guard keyed = {.key = sv_from(key), .fingerprint = SV("f")};
        const struct session_guard *guard = i % 2 ? &keyed : &nobody;
        if (writes[k].made)
            prepare(&c.a, id);
        const struct row before = row_of(id);
        const enum err e = writes[k].run(&c.a, id, guard, &r, name);
        CU_ASSERT_EQUAL(e, ERR_NONE);
        if (e != ERR_NONE)
            fprintf(stderr, "%s: %s %s\n", id, err_name(e), c.a.ctx.err.detail);
        CU_ASSERT_FALSE(r.replayed);
        const struct row after = row_of(name);
        expect_change(writes[k].change, &before, &after, &r);
        if (name[0] != '~')
            expect_tags(&c, name, &r);
        if (i % 2 == 0)
            continue;
        /* Something else happens in between. */
        if (name[0] != '~' && writes[k].run != copy) /* whose replay is the session as it is */
            CU_ASSERT_EQUAL(cluster_append(&c.b, name, 1), ERR_NONE);
        const struct row then = row_of(name);
        CU_ASSERT_EQUAL(writes[k].run(&c.b, id, guard, &again, name), ERR_NONE);
        CU_ASSERT_TRUE(again.replayed && same_stamps(&again, &after));
        if (name[0] != '~') {
            const struct row now = row_of(name);
            CU_ASSERT_EQUAL(memcmp(&now, &then, sizeof(now)), 0);
        }
    }
    cluster_close(&c);
}

/* A session that takes the id of another one is another one. */
static void made_again(void)
{
    struct cluster c;
    struct session_receipt r = {.version = 0};
    char name[64];
    if (!cluster_open(&c))
        return;
    write_fn *const makers[] = {create_named, create_many, ensure, append_create};
    for (size_t i = 0; i < 2 * ARRAY_LEN(makers); i++) {
        char id[32], sql[128];
        snprintf(id, sizeof(id), "st:again-%zu", i);
        prepare(&c.a, id);
        const struct row before = row_of(id);
        snprintf(sql, sizeof(sql), "UPDATE sessions SET expires_at = now() WHERE session_id = '%s'",
                 id);
        const bool gone =
            i % 2 ? world_sql(sql, NULL, 0) : delete (&c.b, id, &nobody, &r, name) == ERR_NONE;
        CU_ASSERT_TRUE(gone);
        CU_ASSERT_EQUAL(makers[i / 2](&c.b, id, &nobody, &r, name), ERR_NONE);
        const struct row after = row_of(id);
        expect_change(MAKES, &before, &after, &r);
        expect_tags(&c, id, &r);
    }
    cluster_close(&c);
}

/* ---- generations ---- */

/* 42 bits of milliseconds of PostgreSQL's clock and 21 that are random. Fails if the time is
 * in other units, or the bits are not random: tried. */
static void what_a_generation_is(void)
{
    struct cluster c;
    struct session_receipt r;
    char name[64], sql[256];
    int64_t bits = 0;
    if (!cluster_open(&c))
        return;
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(create_plain(&c.a, "", &nobody, &r, name), ERR_NONE);
        snprintf(sql, sizeof(sql),
                 "SELECT abs(extract(epoch FROM created_at) * 1000 - (generation >> 21)) < 60000"
                 " FROM sessions WHERE session_id = '%s'",
                 name);
        char near[8] = "";
        CU_ASSERT_TRUE(r.generation > 0 && world_sql(sql, near, sizeof(near)));
        CU_ASSERT_STRING_EQUAL(near, "t");
        bits |= r.generation & ((1 << 21) - 1);
    }
    CU_ASSERT_EQUAL(bits >> 15, (1 << 6) - 1); /* each of the upper ones was set once, or 1e-6 */
    cluster_close(&c);
}

/* The next n sessions of t1 get a generation that is taken, and so does one that comes with the
 * generation of the last that did. Sequences outlive the transactions that fail. */
static const char clash_with[] =
    "CREATE SEQUENCE clashes; CREATE SEQUENCE proposed;"
    "GRANT ALL ON clashes, proposed TO parley_app;"
    "CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF nextval('clashes') <= TG_ARGV[0]::bigint"
    " OR NEW.generation = (SELECT last_value FROM proposed) THEN"
    " PERFORM setval('proposed', NEW.generation); NEW.generation := TG_ARGV[1]::bigint; END IF;"
    " RETURN NEW; END $$;"
    "CREATE TRIGGER clash BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION clash(%d, %lld)";

/* One clash is nobody's concern; the second one fails and leaves nothing. Fails if a clash is not
 * repeated, and if it is with the same generation: tried. */
static void a_taken_generation(void)
{
    write_fn *const makers[] = {create_named, create_plain,  create_many,
                                ensure,       append_create, copy};
    struct cluster c;
    if (!cluster_open(&c))
        return;
    for (size_t i = 0; i < 2 * ARRAY_LEN(makers); i++) {
        const int clashes = 1 + (int)(i % 2);
        char id[32], name[64] = "", sql[1024];
        struct session_receipt r = {.version = 0};
        snprintf(id, sizeof(id), "st:taken-%zu", i);
        prepare(&c.plain, "st:taker");
        const bool is_copy = makers[i / 2] == copy;
        snprintf(sql, sizeof(sql), clash_with, clashes, (long long)row_of("st:taker").generation);
        const int64_t rows = world_count("SELECT count(*) FROM sessions");
        CU_ASSERT_TRUE(world_sql(sql, NULL, 0));
        enum err e = makers[i / 2](&c.a, is_copy ? "st:taker" : id, &nobody, &r, name);
        CU_ASSERT_TRUE(world_sql("DROP TRIGGER clash ON sessions; DROP FUNCTION clash();"
                                 "DROP SEQUENCE clashes; DROP SEQUENCE proposed",
                                 NULL, 0));
        CU_ASSERT_EQUAL(e, clashes == 1 ? ERR_NONE : ERR_INTERNAL);
        CU_ASSERT_EQUAL(world_count("SELECT count(*) FROM sessions"), rows + (clashes == 1));
        CU_ASSERT_EQUAL(
            session_delete(c.a.sessions, world_request(&c.a, "t1"), SV("st:taker"), &nobody, &r),
            ERR_NONE);
    }
    cluster_close(&c);
}

SUITE(session_stamps, "session/stamps", {"every write", every_write}, {"made again", made_again},
      {"what a generation is", what_a_generation_is}, {"a taken generation", a_taken_generation})
