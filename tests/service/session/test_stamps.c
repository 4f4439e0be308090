/* SPDX-License-Identifier: MIT */
/* Stamps: every write gives its session another one and returns it in its receipt, also when the
 * write is repeated. And generations: what they consist of. */
#include "hosts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "edits.h"

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
    CU_ASSERT_TRUE(fixture_sql(sql, text, sizeof(text)));
    (void)sscanf(text, "%" SCNd64 "%" SCNd64 "%" SCNd64 "%" SCNd64 "%" SCNd64 "%" SCNd64,
                 &r.generation, &r.version, &r.state_version, &r.mark, &r.state_mark,
                 &r.mark_before);
    return r;
}

enum how {
    CREATE,
    CREATE_UNNAMED,
    ENSURE,
    COPY,
    FORK,
    APPEND,
    UPDATE,
    PATCH,
    PATCH_MESSAGE,
    SUMMARISE,
    DELETE_MESSAGE,
    TRUNCATE,
    DELETE
};
enum change { MAKES, APPENDS, STATE };

struct stamped_write {
    const char *name;
    enum change change;
    bool made; /* the session is there before, with message "a" */
    enum how how;
    size_t n; /* messages that come with it */
    const char *text,
        *context; /* metadata of a message, edits, an id or a seq; context "create": it may make */
    struct session_patch patch;
};

static const struct stamped_write writes[] = {
    {"create-named", MAKES, false, .how = CREATE},
    {"create-plain", MAKES, false, .how = CREATE_UNNAMED, .n = 1},
    {"create-many", MAKES, false, .how = CREATE, .n = 3, .text = "{\"a\":1}"},
    {"ensure", MAKES, false, .how = ENSURE},
    {"append-create", MAKES, false, .how = APPEND, .n = 1},
    {"copy", MAKES, true, .how = COPY},
    {"fork", MAKES, true, .how = FORK},
    {"append-plain", APPENDS, true, .how = APPEND, .n = 1},
    {"append-one", APPENDS, true, .how = APPEND, .n = 1, .text = "{\"a\":1}"},
    {"append-many", APPENDS, true, .how = APPEND, .n = 3},
    {"append-there", APPENDS, true, .how = APPEND, .n = 1, .context = "create"},
    {"edit-add", APPENDS, true, UPDATE, .text = "+=1 +new=2"},
    {"edit-nothing", APPENDS, true, UPDATE, .text = "+a=1"},
    {"edit-replace", STATE, true, UPDATE, .text = "+a=7"},
    {"edit-remove", STATE, true, UPDATE, .text = "-a"},
    {"edit-clear", STATE, true, UPDATE, .text = "! +=1"},
    {"edit-context", STATE, true, UPDATE, .text = "+=1", .context = "{\"a\":2}"},
    {"patch-context", STATE, true, PATCH, .patch = {.context = SV_INIT("{\"a\":1}")}},
    {"patch-ttl", STATE, true, PATCH, .patch = {.has_ttl = true, .ttl_seconds = 6000}},
    {"patch-user", STATE, true, PATCH, .patch = {.has_user_id = true, .user_id = SV_INIT("u2")}},
    {"summarise", STATE, true, SUMMARISE, .n = 1},
    {"patch-message", STATE, true, PATCH_MESSAGE, .text = "a"},
    {"truncate", STATE, true, TRUNCATE, .text = "0"},
    {"truncate-nothing", APPENDS, true, TRUNCATE, .text = "9"},
    {"delete-message", STATE, true, DELETE_MESSAGE, .text = "1"},
    {"delete-by-id", STATE, true, DELETE_MESSAGE, .text = "a"},
    {"delete", APPENDS, true, .how = DELETE}, /* its row is a tombstone */
};

/* Does a write on session id, or makes it; the session that it is about goes to name. */
static enum err run(const struct stamped_write *x, struct fixture *w, const char *id,
                    const struct session_precondition *precondition, char name[64])
{
    struct session_message m[3];
    for (size_t i = 0; i < ARRAY_LEN(m); i++)
        m[i] = message_of("user", "\"x\"");
    if (x->n > 0 && x->text)
        m[x->n / 2].metadata = sv_from(x->text);
    const struct session_draft d = draft_with(x->how == CREATE_UNNAMED ? NULL : id, NULL, m, x->n);
    const bool create = x->change == MAKES || x->context;
    const struct session_append a = {m, x->n, create};
    const struct session_fork fork = {.session_id = sv_from(text_of("%s-fork", id)), .last_seq = 1};
    enum err e = ERR_NONE;
    switch (x->how) {
    case APPEND:
        return fixture_append(w, "t1", id, &a, precondition);
    case UPDATE:
        return edits_run(w, id, x->text, x->context, precondition);
    case SUMMARISE:
        m[0].seq = 1;
        return session_summary_change(w->sessions, fixture_request(w, "t1"),
                                      &(struct session_target){sv_from(id), precondition, &w->r},
                                      m);
    case PATCH_MESSAGE:
        return fixture_patch_message(w, id, x->text, precondition);
    case TRUNCATE:
        return fixture_truncate(w, id, x->text[0] - '0', precondition);
    case DELETE_MESSAGE:
        return fixture_delete_message(w, "t1", id, x->text, precondition);
    case DELETE:
        snprintf(name, 64, "\001%" PRId64 "~%s", row_of(id).generation, id);
        return fixture_delete(w, "t1", id, precondition);
    case ENSURE: /* its answer has the session itself */
        e = fixture_ensure(w, "t1", &d, precondition);
        w->r.generation = w->s.generation;
        w->r.version = w->s.version;
        w->r.state_version = w->s.state_version;
        w->r.mark = w->s.mark;
        w->r.state_mark = w->s.state_mark;
        return e;
    case PATCH:
        e = fixture_patch(w, "t1", id, &x->patch, precondition);
        break;
    case COPY:
        e = fixture_copy(w, "t1", id, precondition);
        break;
    case FORK:
        e = fixture_fork(w, id, &fork, precondition);
        break;
    case CREATE:
    case CREATE_UNNAMED:
        e = fixture_create(w, "t1", &d, precondition);
    }
    snprintf(name, 64, "%.*s", SV_ARG(w->s.session_id));
    CU_ASSERT_TRUE(w->s.mark == w->r.mark && w->s.state_mark == w->r.state_mark);
    return e;
}

static void prepare(struct fixture *w, const char *id)
{
    hosts_make(w, id);
    OK(edits_run(w, id, "+a=1", NULL, &nobody));
    OK(fixture_get(w, "t1", id)); /* all caches are warm */
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
static void expect_tags(struct hosts *c, const char *id, const struct session_receipt *r)
{
    struct fixture *const hosts[] = {c->a, c->b, c->plain, c->a};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        OK(fixture_get(hosts[i], "t1", id));
        const struct session *s = &hosts[i]->s;
        CU_ASSERT_TRUE(s->generation == r->generation && s->version == r->version &&
                       s->state_version == r->state_version && s->mark == r->mark &&
                       s->state_mark == r->state_mark);
    }
}

/* Without a key and with one, whose repetition gives the first stamps again. Fails if a statement
 * leaves out SQL_STAMP, if the state's mark changes with an append or stays with a patch, if a
 * record lacks a mark, or if a replay returns the present marks: tried. */
static void every_write(void)
{
    struct hosts *c = hosts_open();
    for (size_t i = 0; i < 2 * ARRAY_LEN(writes); i++) {
        const struct stamped_write *x = &writes[i / 2];
        char name[64];
        const char *id = text_of("st:%s-%zu", x->name, i % 2);
        snprintf(name, sizeof(name), "%s", id);
        const struct session_precondition with_key = keyed(text_of("st-key-%zu", i / 2));
        const struct session_precondition *precondition = i % 2 ? &with_key : &nobody;
        if (x->made)
            prepare(c->a, id);
        const struct row before = row_of(id);
        const enum err e = run(x, c->a, id, precondition, name);
        const struct session_receipt *r = &c->a->r, *again = &c->b->r;
        OK(e);
        if (e != ERR_NONE)
            fprintf(stderr, "%s: %s %s\n", id, err_name(e), c->a->ctx.err.detail);
        CU_ASSERT_FALSE(r->replayed);
        const struct row after = row_of(name);
        expect_change(x->change, &before, &after, r);
        if (name[0] != '\001')
            expect_tags(c, name, r);
        if (i % 2 == 0)
            continue;
        /* Another write comes between. */
        if (name[0] != '\001' && x->how != COPY) /* whose replay is the session as it is */
            OK(hosts_append(c->b, name, 1));
        const struct row then = row_of(name);
        OK(run(x, c->b, id, precondition, name));
        CU_ASSERT_TRUE(again->replayed && same_stamps(again, &after));
        if (name[0] != '\001') {
            const struct row now = row_of(name);
            CU_ASSERT_EQUAL(memcmp(&now, &then, sizeof(now)), 0);
        }
    }
    hosts_close(c);
}

/* A session that takes the id of another one is another one. */
static void made_again(void)
{
    struct hosts *c = hosts_open();
    for (size_t i = 0; i < 2 * ARRAY_LEN(writes); i++) {
        const struct stamped_write *x = &writes[i / 2];
        char name[64];
        if (x->made || x->how == CREATE_UNNAMED)
            continue;
        const char *id = text_of("st:again-%zu", i);
        prepare(c->a, id);
        const struct row before = row_of(id);
        if (i % 2)
            fixture_expire(id);
        else
            OK(fixture_delete(c->b, "t1", id, &nobody));
        OK(run(x, c->b, id, &nobody, name));
        const struct row after = row_of(id);
        expect_change(MAKES, &before, &after, &c->b->r);
        expect_tags(c, id, &c->b->r);
    }
    hosts_close(c);
}

/* ---- generations ---- */

/* 42 bits of milliseconds of PostgreSQL's clock and 21 that are random. Fails if the time is
 * in other units, or the bits are not random: tried. */
static void what_a_generation_is(void)
{
    const struct stamped_write unnamed = {.how = CREATE_UNNAMED, .n = 1};
    char name[64], sql[256];
    int64_t bits = 0;
    struct hosts *c = hosts_open();
    for (int i = 0; i < 20; i++) {
        OK(run(&unnamed, c->a, "", &nobody, name));
        snprintf(sql, sizeof(sql),
                 "SELECT abs(extract(epoch FROM created_at) * 1000 - (generation >> 21)) < 60000"
                 " FROM sessions WHERE session_id = '%s'",
                 name);
        char near[8] = "";
        CU_ASSERT_TRUE(c->a->r.generation > 0 && fixture_sql(sql, near, sizeof(near)));
        CU_ASSERT_STRING_EQUAL(near, "t");
        bits |= c->a->r.generation & ((1 << 21) - 1);
    }
    CU_ASSERT_EQUAL(bits >> 15, (1 << 6) - 1); /* each of the upper ones was set once, or 1e-6 */
    hosts_close(c);
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

/* One clash has no effect; a second one fails and leaves nothing. Fails if a clash is not
 * repeated, and if it is with the same generation: tried. */
static void a_taken_generation(void)
{
    struct hosts *c = hosts_open();
    for (size_t i = 0; i < 2 * ARRAY_LEN(writes); i++) {
        const struct stamped_write *x = &writes[i / 2];
        const int clashes = 1 + (int)(i % 2);
        char name[64] = "";
        if (x->change != MAKES)
            continue;
        const char *id = text_of("st:taken-%zu", i);
        prepare(c->plain, "st:taker");
        const int64_t rows = fixture_rows("sessions");
        fixture_exec(clash_with, clashes, (long long)row_of("st:taker").generation);
        enum err e = run(x, c->a, x->made ? "st:taker" : id, &nobody, name);
        fixture_exec("DROP TRIGGER clash ON sessions; DROP FUNCTION clash();"
                     "DROP SEQUENCE clashes; DROP SEQUENCE proposed");
        CU_ASSERT_EQUAL(e, clashes == 1 ? ERR_NONE : ERR_INTERNAL);
        CU_ASSERT_EQUAL(fixture_rows("sessions"), rows + (clashes == 1));
        OK(fixture_delete(c->a, "t1", "st:taker", &nobody));
        if (x->how == FORK && clashes == 1)
            OK(fixture_delete(c->a, "t1", name, &nobody));
    }
    hosts_close(c);
}

SUITE(session_stamps, "session/stamps", {"every write", every_write}, {"made again", made_again},
      {"what a generation is", what_a_generation_is}, {"a taken generation", a_taken_generation})
