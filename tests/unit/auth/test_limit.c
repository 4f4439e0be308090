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
