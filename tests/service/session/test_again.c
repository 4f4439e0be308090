/* SPDX-License-Identifier: MIT */
/* A session made again under the same id is another session: nothing of the old one is seen. */
#include "../../../src/session/session_internal.h"

#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "cluster.h"
#include "expect.h"

static const struct session_guard nobody = {.create_only = false};

/* What somebody who knew the old session still has of it. */
struct memory {
    int64_t generation;
    char made_id[UUID_LEN + 1];
};

static void remember(struct world *w, const char *id, struct memory *out)
{
    struct session s = {.generation = 0};
    CU_ASSERT_EQUAL(session_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, 20, &s),
                    ERR_NONE);
    out->generation = s.generation;
    uuid_v8_pack((uint64_t)s.generation, 1, out->made_id);
}

static void make_old(struct world *w, const char *id, struct memory *old)
{
    struct session s;
    struct session_receipt r;
    struct session_message_draft m[2] = {message_of("user", "\"old\""),
                                         message_of("user", "\"old too\"")};
    struct session_draft d = draft_of(id, NULL);
    m[1].message_id = SV("client-1");
    d.messages = m;
    d.n_messages = 2;
    d.context = SV("{\"old\":1}");
    CU_ASSERT_EQUAL(session_create(w->sessions, world_request(w, "t1"), &d, &nobody, &s, &r),
                    ERR_NONE);
    remember(w, id, old);
}

/* The old entity tags open nothing, not even if all but the generation were equal. */
static void old_tags_are_refused(struct world *w, const char *id, const struct memory *old)
{
    struct session s;
    struct session_receipt r;
    struct session_message_draft m = message_of("user", "\"by tag\"");
    const struct session_append a = {&m, 1, false, 0};
    const struct session_patch patch = {.context = SV("{\"by\":\"tag\"}")};
    struct sv tags[CLUSTER_TAGS];
    struct arena *arena = arena_create(1 << 16);
    CU_ASSERT_EQUAL(cluster_get(w, id, 20, &s), ERR_NONE);
    s.generation = old->generation;
    cluster_tags(arena, &s, tags);
    const struct session_guard guard = {.if_match = tags, .n_if_match = CLUSTER_TAGS};
    CU_ASSERT_EQUAL(
        session_patch(w->sessions, world_request(w, "t1"), sv_from(id), &patch, &guard, &s, &r),
        ERR_PRECONDITION);
    CU_ASSERT_EQUAL(
        session_append(w->sessions, world_request(w, "t1"), sv_from(id), &a, &guard, &r),
        ERR_PRECONDITION);
    CU_ASSERT_EQUAL(session_message_delete(w->sessions, world_request(w, "t1"), sv_from(id),
                                           SV("1"), &guard, &r),
                    ERR_PRECONDITION);
    CU_ASSERT_EQUAL(session_delete(w->sessions, world_request(w, "t1"), sv_from(id), &guard, &r),
                    ERR_PRECONDITION);
    arena_destroy(arena);
}

/* The new session has one message with the seq of an old one. */
static void expect_new(struct world *w, const char *id, const struct memory *old)
{
    struct session s = {.generation = 0};
    struct session_message m;
    struct session_receipt r;
    expect_only(w, "t1", id, "\"new\"");
    CU_ASSERT_EQUAL(session_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, 20, &s),
                    ERR_NONE);
    CU_ASSERT_TRUE(s.generation != old->generation && s.version == 1 && s.message_count == 1);
    CU_ASSERT_TRUE(sv_eq(s.context, SV("{}")));
    static const char *const gone[] = {"2", "client-1"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        CU_ASSERT_EQUAL(session_message_get(w->sessions, world_request(w, "t1"), sv_from(id),
                                            SV_NONE, sv_from(gone[i]), &m),
                        ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(session_message_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE,
                                        sv_from(old->made_id), &m),
                    ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(session_message_delete(w->sessions, world_request(w, "t1"), sv_from(id),
                                           sv_from(old->made_id), &nobody, &r),
                    ERR_NOT_FOUND);
    old_tags_are_refused(w, id, old);
    expect_only(w, "t1", id, "\"new\"");
}

/* Fails if a made id is looked up by its seq alone, if entity tags go without the generation, or
 * if writes do not tell the cache: tried. */
static void deleted_and_created_again(void)
{
    struct world w;
    struct memory old;
    struct session_receipt r;
    if (!world_open(&w, true))
        return;
    make_old(&w, "i:again", &old);
    CU_ASSERT_EQUAL(session_delete(w.sessions, world_request(&w, "t1"), SV("i:again"), &nobody, &r),
                    ERR_NONE);
    expect_nothing(&w, "t1", "i:again");
    expect_make(&w, "t1", "i:again", "\"new\"", &nobody);
    expect_new(&w, "i:again", &old);
    world_close(&w);
}

static void expire(const char *id)
{
    char sql[512];
    snprintf(sql, sizeof(sql),
             "UPDATE sessions SET expires_at = now() - interval '1 second', expiry_hour = 1"
             " WHERE session_id = '%s'",
             id);
    CU_ASSERT_TRUE(world_sql(sql, NULL, 0));
}

/* Fails if the expired session is renewed instead of put aside: tried. */
static void expired_and_created_again(void)
{
    struct world w;
    struct memory old;
    if (!world_open(&w, true))
        return;
    make_old(&w, "i:expired", &old);
    expire("i:expired");
    expect_make(&w, "t1", "i:expired", "\"new\"", &nobody);
    expect_new(&w, "i:expired", &old);
    world_close(&w);
}

/* Likewise by an append that makes its session, and by get or create. */
static void expired_and_made_by_other_calls(void)
{
    struct world w;
    struct memory old;
    struct session s;
    struct session_receipt r;
    struct session_message_draft m = message_of("user", "\"new\"");
    const struct session_append a = {&m, 1, true, 0};
    struct session_draft d = draft_of("i:expired-3", NULL);
    if (!world_open(&w, true))
        return;
    make_old(&w, "i:expired-2", &old);
    expire("i:expired-2");
    CU_ASSERT_EQUAL(
        session_append(w.sessions, world_request(&w, "t1"), SV("i:expired-2"), &a, &nobody, &r),
        ERR_NONE);
    CU_ASSERT_TRUE(r.created && r.first_seq == 1);
    expect_new(&w, "i:expired-2", &old);
    d.messages = &m;
    d.n_messages = 1;
    make_old(&w, "i:expired-3", &old);
    CU_ASSERT_TRUE(world_sql("UPDATE sessions SET expires_at = now() - interval '1 second'"
                             " WHERE session_id = 'i:expired-3'",
                             NULL, 0));
    cache_close(w.cache);
    w.cache = w.sessions->cache = NULL; /* SQL behind the module's back is not told to the cache */
    CU_ASSERT_EQUAL(session_get_or_create(w.sessions, world_request(&w, "t1"), &d, &nobody, &s, &r),
                    ERR_NONE);
    CU_ASSERT_TRUE(r.created);
    expect_new(&w, "i:expired-3", &old);
    world_close(&w);
}

/* An id of the made form that names no generation is only ever a client's own. Fails if generation
 * 0 is taken for "any": tried. */
static void made_id_of_no_generation(void)
{
    char id[UUID_LEN + 1];
    struct world w;
    struct session_message m;
    struct session_receipt r;
    if (!world_open(&w, true))
        return;
    uuid_v8_pack(0, 1, id);
    expect_make(&w, "t1", "i:zero", "\"first\"", &nobody);
    CU_ASSERT_EQUAL(session_message_get(w.sessions, world_request(&w, "t1"), SV("i:zero"), SV_NONE,
                                        sv_from(id), &m),
                    ERR_NOT_FOUND);
    struct session_message_draft d = message_of("user", "\"second\"");
    const struct session_append a = {&d, 1, false, 0};
    d.message_id = sv_from(id);
    CU_ASSERT_EQUAL(
        session_append(w.sessions, world_request(&w, "t1"), SV("i:zero"), &a, &nobody, &r),
        ERR_NONE);
    CU_ASSERT_EQUAL(session_message_get(w.sessions, world_request(&w, "t1"), SV("i:zero"), SV_NONE,
                                        sv_from(id), &m),
                    ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(m.content, SV("\"second\"")));
    world_close(&w);
}

SUITE(session_again, "session/again", {"deleted and created again", deleted_and_created_again},
      {"expired and created again", expired_and_created_again},
      {"expired and made by other calls", expired_and_made_by_other_calls},
      {"a made id of no generation", made_id_of_no_generation})
