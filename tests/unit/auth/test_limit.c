/* SPDX-License-Identifier: MIT */
/* Requests a second: by a clock that the tests set, and by processes that are killed meanwhile. */
#include "../../../src/auth/auth_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../suite.h"
#include "parley/base/uuid.h"

#define SECOND INT64_C(1000000)
static const int64_t start = 1000 * SECOND;

/* How many of n requests at one instant pass. */
static int64_t burst(struct auth_shared *s, struct sv tenant, int64_t rate, int64_t now, int64_t n)
{
    int64_t passed = 0;
    int64_t left = 0;
    int retry;
    for (int64_t i = 0; i < n; i++)
        passed += limit_take(s, tenant, rate, now, &left, &retry);
    return passed;
}

TEST(by_the_clock)
{
    static const int64_t rates[] = {1, 2, 3, 7, 10, 1000};
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct auth_shared *s = auth_shared_map();
        const int64_t rate = rates[i], share = SECOND / rate + 1;
        int retry = 0;
        int64_t left = 0;
        CU_ASSERT_EQUAL(burst(s, SV("t1"), rate, start, rate + 5), rate);
        CU_ASSERT_FALSE(limit_take(s, SV("t1"), rate, start, &left, &retry));
        CU_ASSERT_EQUAL(retry, 1);
        /* Another tenant has a second of its own. */
        CU_ASSERT_EQUAL(burst(s, SV("t2"), rate, start, rate + 5), rate);
        CU_ASSERT_EQUAL(burst(s, SV("t1"), rate, start + share, 5), 1);
        CU_ASSERT_EQUAL(burst(s, SV("t1"), rate, start + SECOND + share, rate + 5), rate);
        /* Silence saves nothing up beyond a second's worth. */
        CU_ASSERT_EQUAL(burst(s, SV("t1"), rate, start + 3600 * SECOND, rate + 5), rate);
    }
}

/* Fails if left counts the request that is refused, or is not set: tried. */
TEST(left)
{
    static const int64_t rates[] = {1, 3, 7, 1000, 600000};
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct auth_shared *s = auth_shared_map();
        int64_t n = rates[i] < 1000 ? rates[i] : 1000, left = -1;
        int retry;
        for (int64_t k = 1; k <= n; k++) {
            CU_ASSERT_TRUE(limit_take(s, SV("t1"), rates[i], start, &left, &retry));
            CU_ASSERT_TRUE(left >= rates[i] - k && left <= rates[i]);
        }
        CU_ASSERT_TRUE(rates[i] > 1000 || left == 0);
        CU_ASSERT_EQUAL(limit_take(s, SV("t1"), rates[i], start, &left, &retry), rates[i] > 1000);
        CU_ASSERT_TRUE(rates[i] > 1000 || left == 0);
    }
}

/* Ten times as many as are allowed, for an hour. Fails if refused requests count, too (then nothing
 * passes any more), or if the debt is forgotten: tried. */
TEST(in_the_long_run)
{
    struct auth_shared *s = auth_shared_map();
    int64_t passed = 0;
    int64_t left = 0;
    int retry;
    for (int64_t ms = 0; ms < 3600 * 1000; ms += 5)
        passed += limit_take(s, SV("t1"), 20, start + ms * 1000, &left, &retry);
    CU_ASSERT_TRUE(passed >= 3600 * 20 && passed <= 3601 * 20);
}

/* A bound that is lowered holds at once; what was owed under the old one is a second at most. */
TEST(lowered)
{
    struct auth_shared *s = auth_shared_map();
    int64_t left = 0;
    int retry = 0;
    CU_ASSERT_EQUAL(burst(s, SV("t1"), 1000, start, 1000), 1000);
    CU_ASSERT_FALSE(limit_take(s, SV("t1"), 1, start, &left, &retry));
    CU_ASSERT_EQUAL(retry, 1);
    CU_ASSERT_TRUE(limit_take(s, SV("t1"), 1, start + SECOND, &left, &retry));
    CU_ASSERT_FALSE(limit_take(s, SV("t1"), 1, start + SECOND, &left, &retry));
}

/* More tenants than entries. One after another, each takes the entry of a tenant that is quiet. At
 * one instant they do not fit, and those without an entry pass. Fails if an entry is never taken
 * over, or if a tenant without one is refused: tried. */
TEST(many_tenants)
{
    struct auth_shared *s = auth_shared_map();
    int refused = 0, bounded = 0;
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < 20000; i++) {
            char name[32];
            const int n = snprintf(name, sizeof(name), "t%d", i);
            const int64_t now = start + (round * 20000 + i) * (SECOND / 1000);
            refused += burst(s, (struct sv){name, (size_t)n}, 3, now, 4) != 3;
        }
    CU_ASSERT_EQUAL(refused, 0);
    for (int i = 0; i < 20000; i++) {
        char name[32];
        const int n = snprintf(name, sizeof(name), "u%d", i);
        int64_t passed = burst(s, (struct sv){name, (size_t)n}, 1, start + 3600 * SECOND, 2);
        refused += passed == 0;
        bounded += passed == 1;
    }
    CU_ASSERT_EQUAL(refused, 0);
    CU_ASSERT_TRUE(bounded > 4000 && bounded < 20000);
}

/* ---- processes ---- */

enum { CHILDREN = 4, RATE = 200000 };

static pid_t child(struct auth_shared *s, int64_t now, bool for_ever, _Atomic int64_t *passed)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid != 0)
        return pid;
    for (int i = 0; for_ever || i < RATE; i++) {
        int retry;
        int64_t left;
        if (limit_take(s, SV("t1"), RATE, now, &left, &retry))
            atomic_fetch_add(passed, 1);
    }
    _exit(0);
}

/* Fails if the new time is stored without comparing the old one: tried. */
TEST(counted_together)
{
    struct auth_shared *s = auth_shared_map();
    _Atomic int64_t *passed =
        mmap(NULL, sizeof(*passed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < CHILDREN; i++)
        (void)child(s, start, false, passed);
    while (wait(NULL) > 0)
        continue;
    CU_ASSERT_EQUAL(atomic_load(passed), RATE);
    munmap((void *)(uintptr_t)passed, sizeof(*passed));
}

/* Wherever a process is killed, others go on, and not more requests pass than are allowed. */
TEST(killed)
{
    for (int i = 0; i < 40; i++) {
        struct auth_shared *s = auth_shared_map();
        _Atomic int64_t *passed =
            mmap(NULL, sizeof(*passed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        const pid_t pid = child(s, start, true, passed);
        usleep((unsigned)(random_u64() % 3000));
        CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
        CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
        const int64_t before = atomic_load(passed);
        const int64_t after = burst(s, SV("t1"), RATE, start, RATE + 10);
        /* One was counted, but the process was killed before it noted that. */
        CU_ASSERT_TRUE(before + after == RATE || before + after == RATE - 1);
        munmap((void *)(uintptr_t)passed, sizeof(*passed));
    }
}

/* ---- counters by tenant ---- */

/* The metrics, until the next test_ctx. */
static const char *counts_of(const struct auth *a)
{
    struct buf b;
    buf_init(&b, test_ctx()->arena, 1024);
    auth_write_counts(a, &b);
    buf_putc(&b, '\0');
    return buf_get(&b).p;
}

/* Fails if a tenant beyond the most has a label, if a tenant of the name other has one of its own,
 * if a request without a tenant is counted, if two classes are mixed up, or if off counts: tried.
 */
TEST(counts)
{
    static const struct {
        int64_t most;
        const char *want; /* "": nothing */
    } rows[] = {
        {0, ""},
        {1, "{class=\"2xx\",tenant=\"b\"} 2|{class=\"4xx\",tenant=\"b\"} "
            "1|{class=\"5xx\",tenant=\"b\"} 1|"
            "{class=\"2xx\",tenant=\"other\"} 2|{class=\"4xx\",tenant=\"other\"} 2|"
            "{class=\"5xx\",tenant=\"other\"} 1|"},
        {2, "{class=\"2xx\",tenant=\"b\"} 2|{class=\"4xx\",tenant=\"b\"} "
            "1|{class=\"5xx\",tenant=\"b\"} 1|"
            "{class=\"2xx\",tenant=\"a.long-name\"} 1|{class=\"4xx\",tenant=\"a.long-name\"} 2|"
            "{class=\"5xx\",tenant=\"a.long-name\"} 0|{class=\"2xx\",tenant=\"other\"} 1|"
            "{class=\"4xx\",tenant=\"other\"} 0|{class=\"5xx\",tenant=\"other\"} 1|"},
    };
    static const struct {
        const char *tenant;
        int status;
    } asked[] = {{"other", 200}, {"", 200},  {"b", 200}, {"a.long-name", 404}, {"b", 304},
                 {"other", 503}, {"b", 429}, {"b", 500}, {"a.long-name", 400}, {"a.long-name", 201},
                 {"", 500}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct auth a = {.set = {.counted = rows[i].most, .shared = auth_shared_map()}};
        for (size_t k = 0; k < ARRAY_LEN(asked); k++)
            auth_count(&a, sv_from(asked[k].tenant), asked[k].status);
        const char *text = counts_of(&a);
        CU_ASSERT_EQUAL(*text != '\0', rows[i].most > 0);
        size_t lines = 0;
        for (struct sv want = sv_from(rows[i].want); want.n > 0; lines++) {
            char line[128];
            const struct sv one = sv_cut(&want, '|');
            snprintf(line, sizeof line, "\nparley_tenant_requests_total%.*s\n", (int)one.n, one.p);
            CU_ASSERT_PTR_NOT_NULL(strstr(text, line));
        }
        for (const char *p = text; (p = strstr(p, "\nparley_tenant")); p++)
            lines--;
        CU_ASSERT_EQUAL(lines, 0);
        a.set.counted = 1; /* after a reload */
        CU_ASSERT_EQUAL(*counts_of(&a) != '\0', rows[i].most > 0);
    }
}

/* How many labels there are, each once and a whole name or "other"; *sum: of all requests. */
static int labels_of(const struct auth *a, int64_t *sum)
{
    static const char label[] = "class=\"2xx\",tenant=\"";
    int labels = 0;
    *sum = 0;
    for (const char *p = counts_of(a); (p = strstr(p, label)); labels++) {
        p += strlen(label);
        const size_t n = strcspn(p, "\"");
        CU_ASSERT_TRUE(n == AUTH_TENANT_MAX || (n == 5 && memcmp(p, "other", 5) == 0));
        char again[128];
        snprintf(again, sizeof again, "%s%.*s\"", label, (int)n, p);
        CU_ASSERT_PTR_NULL(strstr(p, again));
        *sum += atoll(strchr(p, ' '));
    }
    return labels;
}

/* Requests of n tenants by turns, from one of them on. */
static void count_all(const struct auth *a, int from, int requests, int n)
{
    for (int i = from; i < from + requests; i++) {
        char name[AUTH_TENANT_MAX + 1];
        snprintf(name, sizeof name, "%064d", i % n);
        auth_count(a, sv_from(name), 200);
    }
}

/* Processes that meet new tenants at once. Fails, in every second run at least, if a place
 * is taken without comparing, and always if a counter is not atomic: tried. */
TEST(counts_together)
{
    enum { MOST = 100, TENANTS = 120, REQUESTS = 1000 };
    for (int round = 0; round < 150; round++) {
        const struct auth a = {.set = {.counted = MOST, .shared = auth_shared_map()}};
        _Atomic int *waiting =
            mmap(NULL, sizeof(*waiting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        atomic_store(waiting, CHILDREN);
        int64_t sum;
        for (int n = 0; n < CHILDREN; n++) {
            fflush(NULL);
            if (fork() != 0)
                continue;
            atomic_fetch_sub(waiting, 1);
            while (atomic_load(waiting) > 0)
                continue;
            count_all(&a, n * TENANTS / CHILDREN, REQUESTS, TENANTS);
            _exit(0);
        }
        while (wait(NULL) > 0)
            continue;
        CU_ASSERT_EQUAL(labels_of(&a, &sum), MOST + 1);
        CU_ASSERT_EQUAL(sum, CHILDREN * REQUESTS);
        munmap((void *)(uintptr_t)waiting, sizeof(*waiting));
    }
}

/* A process is killed while it meets new tenants. Fails if only the process that takes a place
 * writes the name, or if it begins with the first byte: tried. */
TEST(counts_killed)
{
    for (int round = 0; round < 40; round++) {
        const struct auth a = {.set = {.counted = AUTH_COUNTED_MAX, .shared = auth_shared_map()}};
        int64_t sum;
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            count_all(&a, 0, AUTH_COUNTED_MAX, AUTH_COUNTED_MAX);
            _exit(0);
        }
        usleep((unsigned)(random_u64() % 1000));
        CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
        CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
        count_all(&a, 0, AUTH_COUNTED_MAX, AUTH_COUNTED_MAX);
        CU_ASSERT_EQUAL(labels_of(&a, &sum), AUTH_COUNTED_MAX);
    }
}
