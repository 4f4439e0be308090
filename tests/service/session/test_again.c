/* SPDX-License-Identifier: MIT */
/* A session made again under the same id is another session: nothing of the old one is seen. */

#include "../../unit/suite.h"
#include "cluster.h"

/* What somebody who knew the old session still has of it. */
struct memory {
    int64_t generation;
    char made_id[UUID_LEN + 1];
};

static void remember(struct world *w, const char *id, struct memory *out)
{
    OK(world_get(w, "t1", id));
    out->generation = w->s.generation;
    uuid_v8_pack((uint64_t)w->s.generation, 1, out->made_id);
}

static void make_old(struct world *w, const char *id, struct memory *old)
{
    struct session_message_draft m[2] = {message_of("user", "\"old\""),
                                         message_of("user", "\"old too\"")};
    struct session_draft d = draft_with(id, NULL, m, 2);
    m[1].message_id = SV("client-1");
    d.context = SV("{\"old\":1}");
    OK(world_create(w, "t1", &d, &nobody));
    remember(w, id, old);
}

/* The old entity tags open nothing, not even if all but the generation were equal. */
static void old_tags_are_refused(struct world *w, const char *id, const struct memory *old)
{
    const struct session_patch patch = {.context = SV("{\"by\":\"tag\"}")};
    struct sv tags[CLUSTER_TAGS];
    struct arena *arena = arena_create(1 << 16);
    OK(world_get(w, "t1", id));
    w->s.generation = old->generation;
    cluster_tags(arena, &w->s, tags);
    const struct session_precondition precondition = {.if_match = tags, .n_if_match = CLUSTER_TAGS};
    CU_ASSERT_EQUAL(world_patch(w, "t1", id, &patch, &precondition), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(world_append_one(w, "t1", id, false, "1", &precondition), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(world_delete_message(w, "t1", id, "1", &precondition), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(world_delete(w, "t1", id, &precondition), ERR_PRECONDITION);
    arena_destroy(arena);
}

/* The new session has one message with the seq of an old one. */
static void expect_new(struct world *w, const char *id, const struct memory *old)
{
    expect_only(w, "t1", id, "\"new\"");
    OK(world_get(w, "t1", id));
    CU_ASSERT_TRUE(w->s.generation != old->generation && w->s.version == 1 &&
                   w->s.message_count == 1);
    CU_ASSERT_TRUE(sv_eq(w->s.context, SV("{}")));
    static const char *const gone[] = {"2", "client-1"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        CU_ASSERT_EQUAL(world_message(w, "t1", id, NULL, gone[i]), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(world_message(w, "t1", id, NULL, old->made_id), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(world_delete_message(w, "t1", id, old->made_id, &nobody), ERR_NOT_FOUND);
    old_tags_are_refused(w, id, old);
    expect_only(w, "t1", id, "\"new\"");
}

/* Fails if a made id is looked up by its seq alone, if entity tags go without the generation, or
 * if writes do not tell the cache: tried. */
static void deleted_and_created_again(void)
{
    struct memory old;
    struct world *w = world_open(true);
    make_old(w, "i:again", &old);
    OK(world_delete(w, "t1", "i:again", &nobody));
    expect_nothing(w, "t1", "i:again");
    world_make(w, "t1", "i:again", NULL, 1, "\"new\"", &nobody);
    expect_new(w, "i:again", &old);
    world_close(w);
}

/* Fails if the expired session is renewed instead of put aside: tried. */
static void expired_and_created_again(void)
{
    struct memory old;
    struct world *w = world_open(true);
    make_old(w, "i:expired", &old);
    world_expire("i:expired");
    world_make(w, "t1", "i:expired", NULL, 1, "\"new\"", &nobody);
    expect_new(w, "i:expired", &old);
    world_close(w);
}

/* Likewise by an append that makes its session, and by get or create. */
static void expired_and_made_by_other_calls(void)
{
    struct memory old;
    struct session_message_draft m = message_of("user", "\"new\"");
    struct session_draft d = draft_with("i:expired-3", NULL, &m, 1);
    struct world *w = world_open(true);
    make_old(w, "i:expired-2", &old);
    world_expire("i:expired-2");
    OK(world_append_one(w, "t1", "i:expired-2", true, "\"new\"", &nobody));
    CU_ASSERT_TRUE(w->r.created && w->r.first_seq == 1);
    expect_new(w, "i:expired-2", &old);
    make_old(w, "i:expired-3", &old);
    world_expire("i:expired-3");
    cache_close(w->cache);
    /* SQL behind the module's back is not told to the cache. */
    w->cache = w->sessions->cache = NULL;
    OK(world_ensure(w, "t1", &d, &nobody));
    CU_ASSERT_TRUE(w->r.created);
    expect_new(w, "i:expired-3", &old);
    world_close(w);
}

/* An id of the made form that names no generation is only ever a client's own. Fails if generation
 * 0 is taken for "any": tried. */
static void made_id_of_no_generation(void)
{
    char id[UUID_LEN + 1];
    struct world *w = world_open(true);
    uuid_v8_pack(0, 1, id);
    world_make(w, "t1", "i:zero", NULL, 1, "\"first\"", &nobody);
    CU_ASSERT_EQUAL(world_message(w, "t1", "i:zero", NULL, id), ERR_NOT_FOUND);
    struct session_message_draft d = message_of("user", "\"second\"");
    const struct session_append a = {&d, 1, false, 0};
    d.message_id = sv_from(id);
    OK(world_append(w, "t1", "i:zero", &a, &nobody));
    OK(world_message(w, "t1", "i:zero", NULL, id));
    CU_ASSERT_TRUE(sv_eq(w->m.content, SV("\"second\"")));
    world_close(w);
}

SUITE(session_again, "session/again", {"deleted and created again", deleted_and_created_again},
      {"expired and created again", expired_and_created_again},
      {"expired and made by other calls", expired_and_made_by_other_calls},
      {"a made id of no generation", made_id_of_no_generation})
