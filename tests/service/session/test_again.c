/* SPDX-License-Identifier: MIT */
/* A session that is made again under the same id is another session: nothing of the old one is
 * read. */

#include "../../unit/suite.h"
#include "hosts.h"

/* What a client of the old session still has of it. */
struct old_session {
    int64_t generation;
    char made_id[UUID_LEN + 1];
};

static void make_old(struct fixture *w, const char *id, struct old_session *old)
{
    struct session_message m[2] = {message_of("user", "\"old\""),
                                   message_of("user", "\"old too\"")};
    struct session_draft d = draft_with(id, NULL, m, 2);
    m[1].message_id = SV("client-1");
    d.context = SV("{\"old\":1}");
    OK(fixture_create(w, "t1", &d, &nobody));
    OK(fixture_get(w, "t1", id));
    old->generation = w->s.generation;
    uuid_v8_pack((uint64_t)old->generation, 1, old->made_id);
}

/* The old entity tags are refused, even where all but the generation is equal. */
static void old_tags_are_refused(struct fixture *w, const char *id, const struct old_session *old)
{
    const struct session_patch patch = {.context = SV("{\"by\":\"tag\"}")};
    struct sv tags[HOSTS_TAGS];
    struct arena *arena = arena_create(1 << 16);
    OK(fixture_get(w, "t1", id));
    w->s.generation = old->generation;
    hosts_tags(arena, &w->s, tags);
    const struct session_precondition precondition = {.if_match = tags, .n_if_match = HOSTS_TAGS};
    CU_ASSERT_EQUAL(fixture_patch(w, "t1", id, &patch, &precondition), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(fixture_append_one(w, "t1", id, false, "1", &precondition), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(fixture_delete_message(w, "t1", id, "1", &precondition), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(fixture_delete(w, "t1", id, &precondition), ERR_PRECONDITION);
    arena_destroy(arena);
}

/* The new session has one message with the seq of an old one. */
static void expect_new(struct fixture *w, const char *id, const struct old_session *old)
{
    expect_only(w, "t1", id, "\"new\"");
    OK(fixture_get(w, "t1", id));
    CU_ASSERT_TRUE(w->s.generation != old->generation && w->s.version == 1 &&
                   w->s.message_count == 1);
    CU_ASSERT_TRUE(sv_eq(w->s.context, SV("{}")));
    static const char *const gone[] = {"2", "client-1"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        CU_ASSERT_EQUAL(fixture_message(w, "t1", id, NULL, gone[i]), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_message(w, "t1", id, NULL, old->made_id), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_delete_message(w, "t1", id, old->made_id, &nobody), ERR_NOT_FOUND);
    old_tags_are_refused(w, id, old);
    expect_only(w, "t1", id, "\"new\"");
}

enum end { DELETED, EXPIRED };
enum how { CREATE, APPEND, ENSURE };

/* Fails if a made id is looked up by its seq alone, if entity tags go without the generation, if a
 * write does not reach the caches, or if an expired session is renewed and not made a tombstone:
 * tried.
 */
static void made_again(void)
{
    static const struct {
        const char *id;
        enum end end;
        enum how how;
    } rows[] = {{"i:again", DELETED, CREATE},
                {"i:expired", EXPIRED, CREATE},
                {"i:expired-2", EXPIRED, APPEND},
                {"i:expired-3", EXPIRED, ENSURE}};
    struct session_message m = message_of("user", "\"new\"");
    struct fixture *w = fixture_open(true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *id = rows[i].id;
        const struct session_draft d = draft_with(id, NULL, &m, 1);
        struct old_session old;
        make_old(w, id, &old);
        if (rows[i].end == DELETED) {
            OK(fixture_delete(w, "t1", id, &nobody));
            expect_nothing(w, "t1", id);
        } else {
            fixture_expire(id);
        }
        if (rows[i].how == CREATE) {
            OK(fixture_create(w, "t1", &d, &nobody));
        } else if (rows[i].how == APPEND) {
            OK(fixture_append_one(w, "t1", id, true, "\"new\"", &nobody));
            CU_ASSERT_EQUAL(w->r.first_seq, 1);
        } else {
            /* Without caches, which do not know of the expiry that SQL made. */
            cache_close(w->cache);
            w->cache = w->sessions->cache = fixture_cache(NULL, NULL);
            OK(fixture_ensure(w, "t1", &d, &nobody));
        }
        CU_ASSERT_TRUE(w->r.created);
        expect_new(w, id, &old);
    }
    fixture_close(w);
}

/* An id of the made form with generation 0 is always a client's own. Fails if generation
 * 0 is taken for "any": tried. */
static void made_id_of_no_generation(void)
{
    char id[UUID_LEN + 1];
    struct fixture *w = fixture_open(true);
    uuid_v8_pack(0, 1, id);
    fixture_make(w, "t1", "i:zero", NULL, 1, "\"first\"", &nobody);
    CU_ASSERT_EQUAL(fixture_message(w, "t1", "i:zero", NULL, id), ERR_NOT_FOUND);
    struct session_message d = message_of("user", "\"second\"");
    const struct session_append a = {&d, 1, false};
    d.message_id = sv_from(id);
    OK(fixture_append(w, "t1", "i:zero", &a, &nobody));
    OK(fixture_message(w, "t1", "i:zero", NULL, id));
    CU_ASSERT_TRUE(sv_eq(w->m.content, SV("\"second\"")));
    fixture_close(w);
}

SUITE(session_again, "session/again", {"made again", made_again},
      {"a made id of no generation", made_id_of_no_generation})
