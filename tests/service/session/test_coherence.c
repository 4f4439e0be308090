/* SPDX-License-Identifier: MIT */
/* No read is older than an acknowledged write: appends carried on, any order of calls, late
 * readers; the orders of two writers are in test_writers.c. */
#include "../../../src/session/session_internal.h"

#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "cluster.h"
#include "script.h"

static const struct session_guard nobody = {.create_only = false};

/* ---- appends carried on ---- */

/* A warm session stays warm over appends, and is what PostgreSQL has. Fails if the count
 * or the times are not carried over, or if the oldest of the window are kept: tried. */
static void append_is_carried_on(void)
{
    static const size_t sizes[] = {1, 1, 3, 18, 1, 25, 20, 1, 2};
    struct cluster c;
    int64_t version = 1;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.a, "h:carry");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct world *writer = i % 2 ? &c.a : &c.b, *reader = i % 2 ? &c.b : &c.a;
        CU_ASSERT_EQUAL(cluster_append(writer, "h:carry", sizes[i]), ERR_NONE);
        CU_ASSERT_EQUAL(cluster_cached_version(reader, "h:carry"), ++version);
        cluster_expect_current(&c, reader, "h:carry");
        cluster_expect_current(&c, writer, "h:carry");
    }
    cluster_close(&c);
}

/* An append that follows another value than the one the fence dropped is not carried on. Fails if
 * coherent_after_append does not compare the versions: tried. */
static void append_after_an_untold_write(void)
{
    struct cluster c;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.a, "h:untold");
    CU_ASSERT_EQUAL(cluster_append(&c.a, "h:untold", 25), ERR_NONE);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.b, "h:untold"), 2);
    CU_ASSERT_EQUAL(cluster_append(&c.plain, "h:untold", 1),
                    ERR_NONE); /* of which Redis hears nothing */
    CU_ASSERT_EQUAL(cluster_append(&c.b, "h:untold", 1), ERR_NONE);
    cluster_expect_current(&c, &c.a, "h:untold");
    cluster_expect_current(&c, &c.b, "h:untold");
    cluster_close(&c);
}

/* ---- any order of calls ---- */

static enum err patch(struct world *w, const char *id, unsigned n)
{
    char text[32];
    struct session s;
    struct session_receipt r;
    snprintf(text, sizeof(text), "{\"n\":%u}", n);
    const struct session_patch p = {
        .context = sv_from(text), .has_language = n % 3 == 0, .language = SV("de")};
    return session_patch(w->sessions, world_request(w, "t1"), sv_from(id), &p, &nobody, &s, &r);
}

/* Puts a message in place of another and a member into the context, removes one, or clears. */
static enum err update(struct world *w, const char *id, unsigned n)
{
    char words[64], context[32];
    struct session_receipt r;
    size_t at;
    snprintf(words, sizeof(words), n % 16 == 0 ? "! +a=%u" : "+a=%u ?b +c=%u +=1", n, n);
    snprintf(context, sizeof(context), "{\"u\":%u}", n);
    return script_run(w, id, words, n % 2 ? context : NULL, &nobody, &r, &at);
}

static void any_write(struct world *w, const char *id, unsigned n)
{
    char which[16];
    struct session s;
    struct session_receipt r;
    struct session_draft d = draft_of(id, NULL);
    enum err e = ERR_NONE;
    switch (random_u64() % 9) {
    case 0:
        e = patch(w, id, n);
        break;
    case 8:
        e = update(w, id, n);
        break;
    case 1:
        snprintf(which, sizeof(which), "%llu", (unsigned long long)(random_u64() % 40 + 1));
        e = session_message_delete(w->sessions, world_request(w, "t1"), sv_from(id), sv_from(which),
                                   &nobody, &r);
        break;
    case 2:
        if (n % 4 == 0)
            e = session_delete(w->sessions, world_request(w, "t1"), sv_from(id), &nobody, &r);
        break;
    case 3:
        e = session_get_or_create(w->sessions, world_request(w, "t1"), &d, &nobody, &s, &r);
        break;
    default:
        e = cluster_append(w, id, random_u64() % 4 + 1);
    }
    CU_ASSERT_TRUE(e == ERR_NONE || e == ERR_NOT_FOUND);
}

/* Two workers write and read in turn, now and then with a pause that lets a fence run out, so that
 * readers fill as well. Fails if a patch, an update, a deletion or the deletion of a message does
 * not tell the tier: tried. */
static void any_order(void)
{
    struct cluster c;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.a, "h:any");
    for (unsigned n = 0; n < 300; n++) {
        struct world *w = random_u64() % 2 ? &c.a : &c.b;
        any_write(w, "h:any", n);
        if (n % 100 == 99) {
            cluster_sleep_ms(2050);
            cluster_expect_current(&c, &c.a, "h:any");
        }
        cluster_expect_current(&c, &c.a, "h:any");
        cluster_expect_current(&c, &c.b, "h:any");
    }
    cluster_close(&c);
}

/* ---- a reader that is late ---- */

/* Read before the write, filled after it. Fails if a fill does not look for the fence: tried. */
static void late_fill_is_refused(void)
{
    struct cluster c;
    struct cluster_reader r;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.plain, "h:late");
    cluster_late_read(&r, &c.b, "h:late");
    CU_ASSERT_EQUAL(cluster_append(&c.a, "h:late", 1), ERR_NONE);
    cluster_late_fill(&r, &c.b);
    CU_ASSERT_NOT_EQUAL(cluster_cached_version(&c.b, "h:late"), 1);
    cluster_expect_current(&c, &c.a, "h:late");
    cluster_expect_current(&c, &c.b, "h:late");
    cluster_close(&c);
}

/* So late that the fence is gone. Fails if a fill is taken whatever its age: tried. */
static void very_late_fill_is_refused(void)
{
    struct cluster c;
    struct cluster_reader r;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.plain, "h:later");
    cluster_late_read(&r, &c.b, "h:later");
    CU_ASSERT_EQUAL(cluster_append(&c.a, "h:later", 1), ERR_NONE);
    cluster_sleep_ms(2100);
    cluster_late_fill(&r, &c.b);
    CU_ASSERT_NOT_EQUAL(cluster_cached_version(&c.b, "h:later"), 1);
    cluster_expect_current(&c, &c.b, "h:later");
    cluster_close(&c);
}

/* A session that is gone, and one of the same id, are no better. */
static void late_fill_after_a_deletion(void)
{
    struct cluster c;
    struct cluster_reader one, two;
    struct session_receipt r;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.plain, "h:gone");
    cluster_late_read(&one, &c.b, "h:gone");
    cluster_late_read(&two, &c.b, "h:gone");
    CU_ASSERT_EQUAL(
        session_delete(c.a.sessions, world_request(&c.a, "t1"), SV("h:gone"), &nobody, &r),
        ERR_NONE);
    cluster_late_fill(&one, &c.b);
    cluster_expect_current(&c, &c.b, "h:gone");
    cluster_make(&c.a, "h:gone");
    cluster_late_fill(&two, &c.b);
    cluster_expect_current(&c, &c.a, "h:gone");
    cluster_expect_current(&c, &c.b, "h:gone");
    cluster_close(&c);
}

/* A fill that nothing forbids is taken: the tests above refuse something. */
static void timely_fill_is_taken(void)
{
    struct cluster c;
    struct cluster_reader r;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.plain, "h:timely");
    for (int i = 0; i < 5 && cluster_cached_version(&c.a, "h:timely") == 0; i++) {
        cluster_late_read(&r, &c.b, "h:timely");
        cluster_late_fill(&r, &c.b);
    }
    CU_ASSERT_EQUAL(cluster_cached_version(&c.a, "h:timely"), 1);
    cluster_expect_current(&c, &c.a, "h:timely");
    cluster_close(&c);
}

/* What is expired is not served, however the tier came by it. Fails if a cached value's expiry is
 * not looked at: tried. */
static void expired_value_is_a_miss(void)
{
    struct cluster c;
    struct session s = {.version = 0};
    struct session_receipt r;
    struct session_draft d = draft_of("h:expires", NULL);
    d.ttl_seconds = 1;
    d.sliding = false;
    if (!cluster_open(&c))
        return;
    CU_ASSERT_EQUAL(session_create(c.a.sessions, world_request(&c.a, "t1"), &d, &nobody, &s, &r),
                    ERR_NONE);
    struct cache_value value = {s.generation, s.version, 60000, SV_NONE};
    struct cache_fence fence;
    const struct cache_key key = {SV("t1"), SV("h:expires")};
    struct caller caller;
    caller_open(&caller);
    struct request_ctx *ctx = caller_request(&caller, "t1");
    CU_ASSERT_EQUAL(codec_encode(ctx, &s, &value.bytes), ERR_NONE);
    CU_ASSERT_EQUAL(cache_fence(c.a.cache, ctx, key, &fence), ERR_NONE);
    /* With a life longer than the session's. */
    CU_ASSERT_EQUAL(cache_settle(c.a.cache, ctx, key, &fence, &value), ERR_NONE);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.b, "h:expires"), 1);
    cluster_sleep_ms(1100);
    CU_ASSERT_EQUAL(
        session_get(c.b.sessions, world_request(&c.b, "t1"), SV("h:expires"), SV_NONE, 20, &s),
        ERR_NOT_FOUND);
    caller_close(&caller);
    cluster_close(&c);
}

SUITE(session_coherence, "session/coherence", {"an append is carried on", append_is_carried_on},
      {"an append after an untold write", append_after_an_untold_write}, {"any order", any_order},
      {"a late fill is refused", late_fill_is_refused},
      {"a very late fill is refused", very_late_fill_is_refused},
      {"a late fill after a deletion", late_fill_after_a_deletion},
      {"a timely fill is taken", timely_fill_is_taken},
      {"an expired value is a miss", expired_value_is_a_miss})
