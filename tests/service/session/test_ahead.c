/* SPDX-License-Identifier: MIT */
/* Reads by many threads at once, of which some were read ahead together: two tenants whose sessions
 * have the same ids, of any size, absent, of other users, changed meanwhile. FAULTS=long: 100,000
 * of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "hosts.h"
#include "threads.h"

enum { THREADS = 16, TOGETHER = SESSION_AHEAD_MAX, LARGE = 10, ABSENT = 11, LARGE_PARTS = 9 };
enum { LARGE_BYTES = (8 << 20) / LARGE_PARTS - 16 };
static const char *const tenants[] = {"ah1", "ah2"};

static size_t messages_of(int k)
{
    return k == LARGE ? LARGE_PARTS : (size_t)k;
}

/* "tenant id" is in the context and in all messages, of which number k has k, or for LARGE 8 MB. */
static void make(struct fixture *w, const char *tenant, const char *id, int k)
{
    static char large[LARGE_BYTES];
    char mark[64];
    struct session_message m[ABSENT];
    const int n = snprintf(mark, sizeof(mark), "\"%s %s\"", tenant, id);
    const char *context = text_of("{\"mark\":%s}", mark);
    memset(large, 'x', sizeof(large));
    memcpy(large, mark, (size_t)n - 1);
    large[sizeof(large) - 1] = '"';
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        m[i] = message_of("user", mark);
        if (k == LARGE)
            m[i].content = (struct sv){large, sizeof(large)};
    }
    /* Its user has the tenant's name. */
    struct session_draft d = draft_with(id, tenant, m, messages_of(k));
    d.context = sv_from(context);
    OK(fixture_create(w, tenant, &d, &nobody));
}

/* All that is in it is the session's, in which there were k messages at first. */
static bool is_own(const struct session *s, const char *tenant, const char *id, int k)
{
    char mark[64];
    const size_t n = (size_t)snprintf(mark, sizeof(mark), "\"%s %s\"", tenant, id);
    const char *context = text_of("{\"mark\":%s}", mark);
    bool own = sv_eq(s->session_id, sv_from(id)) && sv_eq(s->user_id, sv_from(tenant)) &&
               sv_eq(s->context, sv_from(context)) && !s->degraded &&
               s->n_messages >= messages_of(k);
    for (size_t i = 0; own && i < messages_of(k); i++)
        own = s->messages[i].content.n >= n && memcmp(s->messages[i].content.p, mark, n - 1) == 0;
    return own;
}

/* ---- many at once ---- */

/* One of the requests that are read ahead together. */
struct member {
    struct fixture *w;
    const char *tenant;
    char id[24];
    int k;
    bool foreign; /* it is another user's */
};

static int rounds(void)
{
    const char *faults = getenv("FAULTS");
    return (faults && strcmp(faults, "long") == 0 ? 100800 : 10080) / THREADS / TOGETHER;
}

static struct session_ahead *choose(struct threads *threads, struct member *m)
{
    const uint64_t dice = random_u64();
    m->k = dice / 4 % 200 == 7 ? LARGE : dice / 4 % 11 == 10 ? ABSENT : (int)(dice / 4 % 10);
    m->foreign = dice / 65536 % 10 == 0;
    m->tenant = tenants[dice % 2];
    snprintf(m->id, sizeof(m->id), "ah:%d", m->k);
    struct request_ctx *ctx = fixture_request(m->w, m->tenant);
    if (dice / 1048576 % 8 == 0) /* now and then nothing is in memory */
        cache_remove(threads->w->cache, (struct cache_key){ctx->tenant, sv_from(m->id)}, true);
    return session_ahead_new(ctx, sv_from(m->id));
}

static void answer(struct threads *threads, struct member *m)
{
    const char *user = (m->tenant == tenants[0]) != m->foreign ? tenants[0] : tenants[1];
    struct session *s = &m->w->s;
    enum err e;
    while (threads_try_again(
        e = session_get(m->w->sessions, &m->w->ctx, sv_from(m->id), sv_from(user), 20, s)))
        (void)fixture_request(m->w, m->tenant);
    const enum err want = m->foreign || m->k == ABSENT ? ERR_NOT_FOUND : ERR_NONE;
    threads->failed += e != want;
    if (e != want)
        fprintf(stderr, "%s %s: %s\n", m->tenant, m->id, err_name(e));
    threads->conflicts +=
        e == ERR_NONE && (!is_own(s, m->tenant, m->id, m->k) || s->n_messages != messages_of(m->k));
    threads->calls_done++;
}

static void work(struct threads *threads, struct fixture *c, int me)
{
    struct member all[TOGETHER];
    struct session_ahead *ahead[TOGETHER];
    for (int i = 0; i < TOGETHER; i++) {
        all[i].w = fixture_share(threads->w);
        all[i].w->ms = 60000; /* a slow machine answers the last of them late */
    }
    for (int round = 0; round < rounds(); round++) {
        const size_t n = random_u64() % TOGETHER + 1; /* the others ask for themselves */
        (void)fixture_request(c, "");                 /* resets what is shared */
        for (int i = 0; i < TOGETHER; i++)
            ahead[i] = choose(threads, &all[i]);
        session_ahead_read(threads->w->sessions, c->arena, ahead, n);
        threads->missing += (int)n;
        for (size_t i = 0; i < TOGETHER; i++) {
            threads->created += i < n && session_ahead_is_done(&all[i].w->ctx);
            answer(threads, &all[i]);
        }
    }
    for (int i = 0; i < TOGETHER; i++)
        fixture_close(all[i].w);
    (void)me;
}

/* Fails if a member gets the row of another: tests/mutants/batch-rows-mixed-up. */
static void equal_ids_at_once(void)
{
    struct fixture *w = fixture_open(true);
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < ABSENT; k++) {
            const char *id = text_of("ah:%d", k);
            make(w, tenants[t], id, k);
        }
    struct threads threads = threads_at(w, "");
    threads_run(&threads, THREADS, work);
    CU_ASSERT_EQUAL(threads.conflicts, 0); /* foreign */
    CU_ASSERT_EQUAL(threads.failed, 0);
    CU_ASSERT_EQUAL(threads.calls_done, rounds() * THREADS * TOGETHER);
    CU_ASSERT_TRUE(threads.created > threads.missing / 2); /* were there ahead */
    fixture_close(w);
}

/* ---- one by one ---- */

enum { KNOWN, CHANGED, DELETED, OTHER_USER, NOT_IN_MEMORY, EXPIRED, KINDS };

struct few {
    struct hosts *c;
    struct fixture *shared, *callers[KINDS];
    char ids[KINDS][24];
    struct session_ahead *ahead[KINDS];
};

static void few_open(struct few *f, const char *prefix)
{
    f->c = hosts_open();
    f->shared = fixture_share(f->c->a);
    for (int i = 0; i < KINDS; i++) {
        f->callers[i] = fixture_share(f->c->a);
        snprintf(f->ids[i], sizeof(f->ids[i]), "%s:%d", prefix, i);
        make(f->c->a, "t1", f->ids[i], 1);
    }
}

static void few_close(struct few *f)
{
    for (int i = 0; i < KINDS; i++)
        fixture_close(f->callers[i]);
    fixture_close(f->shared);
    hosts_close(f->c);
}

static void few_read_ahead(struct few *f)
{
    (void)fixture_request(f->shared, "");
    for (int i = 0; i < KINDS; i++)
        f->ahead[i] = session_ahead_new(&f->callers[i]->ctx, sv_from(f->ids[i]));
    session_ahead_read(f->c->a->sessions, f->shared->arena, f->ahead, KINDS);
}

static enum err get(struct few *f, int who, int id, const char *user, struct session *s)
{
    *s = (struct session){.version = 0};
    return session_get(f->c->a->sessions, &f->callers[who]->ctx, sv_from(f->ids[id]), sv_from(user),
                       20, s);
}

/* What another host has changed or deleted before is seen; what is changed afterwards may be, and
 * what was read ahead is used once, and for its own session only. Fails if take_ahead does not
 * compare the id (tests/mutants/ahead-of-another) or gives it twice (tests/mutants/ahead-twice). */
static void each_has_its_own(void)
{
    struct few f;
    struct session s;
    few_open(&f, "few");
    struct fixture *other = f.c->b;
    OK(hosts_append(other, f.ids[CHANGED], 2));
    OK(fixture_delete(other, "t1", f.ids[DELETED], &nobody));
    cache_remove(f.c->a->cache, (struct cache_key){SV("t1"), sv_from(f.ids[NOT_IN_MEMORY])}, true);
    fixture_expire(f.ids[EXPIRED]);
    for (int i = 0; i < KINDS; i++)
        (void)fixture_request(f.callers[i], "t1");
    few_read_ahead(&f);
    for (int i = 0; i < KINDS; i++)
        CU_ASSERT_EQUAL(session_ahead_is_done(&f.callers[i]->ctx), i != NOT_IN_MEMORY);
    OK(get(&f, CHANGED, CHANGED, "t1", &s));
    CU_ASSERT_TRUE(s.version == 2 && s.n_messages == 3);
    CU_ASSERT_EQUAL(get(&f, DELETED, DELETED, "t1", &s), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(get(&f, EXPIRED, EXPIRED, "t1", &s), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(get(&f, OTHER_USER, OTHER_USER, "t2", &s), ERR_NOT_FOUND);
    OK(get(&f, NOT_IN_MEMORY, NOT_IN_MEMORY, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[NOT_IN_MEMORY], 1));
    OK(get(&f, KNOWN, KNOWN, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[KNOWN], 1) && s.version == 1);
    /* Once: the second read of a request asks. */
    OK(hosts_append(other, f.ids[KNOWN], 1));
    OK(get(&f, KNOWN, KNOWN, "t1", &s));
    CU_ASSERT_EQUAL(s.version, 2);
    /* For its own session, and for no later one then. */
    for (int i = 0; i < KINDS; i++)
        (void)fixture_request(f.callers[i], "t1");
    few_read_ahead(&f);
    OK(get(&f, KNOWN, CHANGED, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[CHANGED], 1));
    OK(hosts_append(other, f.ids[KNOWN], 1));
    OK(get(&f, KNOWN, KNOWN, "t1", &s));
    CU_ASSERT_EQUAL(s.version, 3);
    OK(get(&f, DELETED, KNOWN, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[KNOWN], 1));
    few_close(&f);
}

/* One has no time left, the table is locked: none takes longer than it has. Fails if the batch has
 * the time of the first one only: tried. */
static void in_time(void)
{
    static const int rows[][2] = {{-1, 20000}, {20000, -1}, {20000, 700}}; /* the first, the rest */
    struct few f;
    struct session s;
    few_open(&f, "time");
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        const bool locked = row == 2;
        struct held_transaction *held =
            locked ? transaction_hold("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE") : NULL;
        const int64_t began = clock_mono_us();
        for (int i = 0; i < KINDS; i++)
            fixture_request(f.callers[i], "t1")->deadline = deadline_in_ms(rows[row][i > 0]);
        few_read_ahead(&f);
        if (locked)
            CU_ASSERT_TRUE(clock_mono_us() - began < 10000000);
        for (int i = KINDS - 1; i > 0; i--) {
            const enum err e = get(&f, i, i, "t1", &s);
            CU_ASSERT_TRUE(rows[row][1] < 0 || locked ? e == ERR_TIMEOUT : e == ERR_NONE);
        }
        if (locked)
            CU_ASSERT_TRUE(clock_mono_us() - began < 10000000);
        if (held)
            transaction_release(held);
        const enum err e = get(&f, 0, 0, "t1", &s);
        CU_ASSERT_EQUAL(e, rows[row][0] < 0 ? ERR_TIMEOUT : ERR_NONE);
    }
    few_close(&f);
}

SUITE(session_ahead, "session/ahead", {"equal ids at once", equal_ids_at_once},
      {"each has its own", each_has_its_own}, {"in time", in_time})
