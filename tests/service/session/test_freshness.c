/* SPDX-License-Identifier: MIT */
/* No read is older than an acknowledged write, on any host and whatever the caches contain: after
 * appends, any order of calls, with values of any age, and after a lost timeline. A host that is
 * alone is in test_alone.c. */
#include "hosts.h"

#include "../../unit/suite.h"
#include "edits.h"

/* ---- the cached value after an append ---- */

/* After appends, memory still has the session as PostgreSQL has it. Appends leave Redis alone: the
 * read of another host updates it. Fails if mark_before does not come from the row, if the count or
 * the times are not updated, if the window keeps its oldest messages, or if fresh_write_end ignores
 * `appends`: tried. */
static void append_updates_memory(void)
{
    static const size_t sizes[] = {1, 1, 3, 18, 1, 25, 20, 1, 2};
    int64_t version = 1;
    struct hosts *c = hosts_open();
    hosts_make(c->a, "h:append");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        OK(hosts_append(c->a, "h:append", sizes[i]));
        CU_ASSERT_EQUAL(hosts_in_memory(c->a, "h:append"), ++version);
        service_sleep_ms(20);
        CU_ASSERT_TRUE(hosts_in_redis(c, "h:append") <= 1); /* 0: the queue lost it */
        hosts_expect_current(c, c->a, "h:append");
    }
    OK(fixture_get(c->b, "t1", "h:append"));
    CU_ASSERT_TRUE(fixture_was_from(c->b, "postgres"));
    CU_ASSERT_TRUE(hosts_wait_redis(c, "h:append", version));
    hosts_close(c);
}

/* An append does not update a value that is not directly before it. Fails if
 * fresh_after_append does not compare the stamps: tried. */
static void append_after_an_uncached_write(void)
{
    struct hosts *c = hosts_open();
    hosts_make(c->a, "h:uncached");
    OK(hosts_append(c->a, "h:uncached", 25));
    hosts_expect_current(c, c->b, "h:uncached");
    OK(hosts_append(c->plain, "h:uncached", 1)); /* changes no cache */
    OK(hosts_append(c->b, "h:uncached", 1));
    hosts_expect_current(c, c->a, "h:uncached");
    hosts_expect_current(c, c->b, "h:uncached");
    hosts_close(c);
}

/* ---- any order of calls ---- */

static enum err patch(struct fixture *w, const char *id, unsigned n)
{
    const char *text = text_of("{\"n\":%u}", n);
    const struct session_patch p = {
        .context = sv_from(text), .has_language = n % 3 == 0, .language = SV("de")};
    return fixture_patch(w, "t1", id, &p, &nobody);
}

/* Puts a message in place of another and a member into the context, removes one, or clears. */
static enum err update(struct fixture *w, const char *id, unsigned n)
{
    const char *edits = text_of(n % 16 == 0 ? "! +a=%u" : "+a=%u ?b +c=%u +=1", n, n);
    const char *context = text_of("{\"u\":%u}", n);
    return edits_run(w, id, edits, n % 2 ? context : NULL, &nobody);
}

static void any_write(struct fixture *w, const char *id, unsigned n)
{
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
        e = fixture_delete_message(
            w, "t1", id, text_of("%llu", (unsigned long long)(random_u64() % 40 + 1)), &nobody);
        break;
    case 2:
        if (n % 4 == 0)
            e = fixture_delete(w, "t1", id, &nobody);
        break;
    case 3:
        e = fixture_ensure(w, "t1", &d, &nobody);
        break;
    default:
        e = hosts_append(w, id, random_u64() % 4 + 1);
    }
    CU_ASSERT_TRUE(e == ERR_NONE || e == ERR_NOT_FOUND);
}

/* Two hosts write and read in turn. Fails if a value is used without asking: tried. */
static void any_order(void)
{
    struct hosts *c = hosts_open();
    hosts_make(c->a, "h:any");
    for (unsigned n = 0; n < 300; n++) {
        any_write(random_u64() % 2 ? c->a : c->b, "h:any", n);
        hosts_expect_current(c, c->a, "h:any");
        hosts_expect_current(c, c->b, "h:any");
    }
    hosts_close(c);
}

/* ---- values of any age ---- */

static void expect_both(struct hosts *c, const char *id, const struct cache_value *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hosts_put(c, "t1", id, &values[i]);
        hosts_expect_current(c, c->a, id);
        hosts_expect_current(c, c->b, id);
    }
}

/* An old value is in a cache again: a late reader stored it, or Redis was restored from a backup.
 * Fails if a value is used without asking, and if the generation is not compared: tried. */
static void old_values_come_back(void)
{
    struct session s;
    struct cache_value values[4];
    const char *id = "h:old";
    struct hosts *c = hosts_open();
    struct fixture *keeper = fixture_share(c->plain);
    fixture_request(keeper, "t1");
    hosts_make(c->a, id);
    values[0] = hosts_value(c, keeper, "t1", id, &s);
    OK(hosts_append(c->a, id, 3));
    expect_both(c, id, values, 1);
    values[1] = hosts_value(c, keeper, "t1", id, &s);
    OK(patch(c->b, id, 3));
    expect_both(c, id, values, 2);
    values[2] = hosts_value(c, keeper, "t1", id, &s);
    OK(fixture_delete(c->a, "t1", id, &nobody));
    expect_both(c, id, values, 3);
    /* A read that finds no session removes the value. */
    CU_ASSERT_TRUE(hosts_in_memory(c->a, id) == 0 && hosts_in_memory(c->b, id) == 0);
    CU_ASSERT_TRUE(hosts_wait_redis(c, id, 0));
    hosts_make(c->b, id);
    expect_both(c, id, values, 3);
    OK(hosts_append(c->b, id, 1));
    expect_both(c, id, values, 3);
    fixture_close(keeper);
    hosts_close(c);
}

/* An expired session is not read, whatever life its cached value has. Fails if a value is used
 * without asking: tried. */
static void expired_value_is_a_miss(void)
{
    struct session s;
    struct hosts *c = hosts_open();
    struct fixture *keeper = fixture_share(c->plain);
    fixture_request(keeper, "t1");
    hosts_make(c->a, "h:expires");
    const struct cache_value value = hosts_value(c, keeper, "t1", "h:expires", &s);
    hosts_put(c, "t1", "h:expires", &value);
    fixture_expire("h:expires");
    CU_ASSERT_EQUAL(fixture_get(c->a, "t1", "h:expires"), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_get(c->b, "t1", "h:expires"), ERR_NOT_FOUND);
    fixture_close(keeper);
    hosts_close(c);
}

/* The owner comes from PostgreSQL, also if the cached value is current. Fails if it comes from the
 * value: tests/mutants/fresh-owner-from-the-cache. */
static void the_owner_is_postgresqls(void)
{
    struct hosts *c = hosts_open();
    hosts_make(c->a, "h:owner");
    hosts_expect_current(c, c->b, "h:owner");
    fixture_exec("UPDATE sessions SET user_id = 'u2' WHERE session_id = 'h:owner'");
    struct fixture *const hosts[] = {c->a, c->b};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        CU_ASSERT_EQUAL(fixture_get_as(hosts[i], "t1", "h:owner", "u1", 20), ERR_NOT_FOUND);
        OK(fixture_get_as(hosts[i], "t1", "h:owner", "u2", 20));
        CU_ASSERT_TRUE(fixture_was_from(hosts[i], "memory"));
    }
    hosts_close(c);
}

/* ---- a timeline that was lost ---- */

/* As after a failover that lost commits, or with a restored backup: the same numbers with another
 * content. */
static void lose_timeline(const char *id)
{
    fixture_exec("UPDATE messages SET content = '\"other\"' WHERE generation IN"
                 " (SELECT generation FROM sessions WHERE session_id = '%s');"
                 "UPDATE sessions SET mark = mark + 64, state_mark = state_mark + 64, context ="
                 " '{\"other\":1}' WHERE session_id = '%s'",
                 id, id);
}

/* Each write that can have If-Match returns `want` for these tags, and leaves the session
 * unchanged. */
static void expect_match(struct fixture *w, const char *id, const struct sv tags[HOSTS_TAGS],
                         enum err want)
{
    const struct session_patch p = {.context = SV("{\"m\":1}")};
    for (int i = 0; i < HOSTS_TAGS; i++) {
        const struct session_precondition precondition = {.if_match = &tags[i], .n_if_match = 1};
        CU_ASSERT_EQUAL(fixture_copy(w, "t1", id, &precondition), want);
        if (want == ERR_NONE)
            continue; /* the others would change it */
        CU_ASSERT_EQUAL(fixture_append_one(w, "t1", id, false, "1", &precondition), want);
        CU_ASSERT_EQUAL(fixture_patch(w, "t1", id, &p, &precondition), want);
        CU_ASSERT_EQUAL(edits_run(w, id, "+=1", NULL, &precondition), want);
        CU_ASSERT_EQUAL(fixture_delete_message(w, "t1", id, "1", &precondition), want);
        CU_ASSERT_EQUAL(fixture_delete(w, "t1", id, &precondition), want);
    }
}

/* Fails if the mark is no part of the stamp (tests/mutants/fresh-stamp-without-mark), if a value is
 * brought up to date by its version alone (fresh-append-by-version), or used without asking
 * (fresh-not-asked), and if a tag of If-Match has no mark: tried. */
static void lost_timeline(void)
{
    struct session s;
    struct sv tags[HOSTS_TAGS], other[HOSTS_TAGS];
    struct hosts *c = hosts_open();
    struct fixture *keeper = fixture_share(c->plain);
    struct arena *a = fixture_request(keeper, "t1")->arena;
    for (int appended = 0; appended < 3; appended++) { /* before the first read; by a, by b */
        const char *id = text_of("h:lost-%d", appended);
        hosts_make(c->a, id);
        OK(hosts_append(c->a, id, 5));
        OK(patch(c->a, id, 1));
        OK(hosts_append(c->a, id, 5));
        const struct cache_value lost = hosts_value(c, keeper, "t1", id, &s);
        hosts_put(c, "t1", id, &lost);
        hosts_tags(a, &s, tags);
        expect_match(c->a, id, tags, ERR_NONE);
        lose_timeline(id);
        if (appended > 0)
            OK(hosts_append(appended == 1 ? c->a : c->b, id, 1));
        struct fixture *const hosts[] = {c->a, c->b, c->plain};
        for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
            if (hosts[i] != c->plain)
                hosts_expect_current(c, hosts[i], id);
            OK(fixture_get(hosts[i], "t1", id));
            hosts_tags(a, &hosts[i]->s, other);
            for (int k = 0; k < HOSTS_TAGS; k++)
                CU_ASSERT_FALSE(sv_eq(tags[k], other[k])); /* If-None-Match */
            expect_match(hosts[i], id, tags, ERR_PRECONDITION);
            hosts_put(c, "t1", id, &lost); /* and once more, as from a late reader */
        }
        hosts_expect_current(c, c->a, id);
    }
    fixture_close(keeper);
    hosts_close(c);
}

SUITE(session_freshness, "session/freshness", {"an append updates memory", append_updates_memory},
      {"an append after an uncached write", append_after_an_uncached_write},
      {"any order", any_order}, {"old values come back", old_values_come_back},
      {"an expired value is a miss", expired_value_is_a_miss},
      {"the owner is PostgreSQL's", the_owner_is_postgresqls}, {"a lost timeline", lost_timeline})
