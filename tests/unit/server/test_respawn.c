/* SPDX-License-Identifier: MIT */
#include "../../../src/server/server_internal.h"
#include "../suite.h"

static const int64_t second = 1000000;

TEST(delay_grows_and_is_reset)
{
    static const int64_t want_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct respawn r = {.n_deaths = 0};
    int64_t now = 1000 * second;
    for (size_t i = 0; i < ARRAY_LEN(want_ms); i++) {
        CU_ASSERT_EQUAL(respawn_after_death(&r, false, now), want_ms[i] * 1000);
        CU_ASSERT_FALSE(respawn_is_looping(&r, now));
        now += 8 * second;
    }
    CU_ASSERT_EQUAL(respawn_after_death(&r, true, now), second / 10);
    CU_ASSERT_EQUAL(respawn_after_death(&r, false, now), second / 5);
}

/* Fails if the ring is read at the newest instead of the oldest entry, and if a loop lasts until
 * the next death, which may not come: tried. */
TEST(crash_loop_is_seen)
{
    struct respawn r = {.n_deaths = 0};
    int64_t now = 5 * second;
    for (int i = 1; i < RESPAWN_DEATHS; i++) {
        (void)respawn_after_death(&r, true, now);
        CU_ASSERT_FALSE(respawn_is_looping(&r, now));
        now += 6 * second;
    }
    CU_ASSERT_EQUAL(respawn_after_death(&r, true, now), second / 10);
    CU_ASSERT_TRUE(respawn_is_looping(&r, now));
    /* It ends by itself. */
    CU_ASSERT_TRUE(respawn_is_looping(&r, now + 59 * second));
    CU_ASSERT_FALSE(respawn_is_looping(&r, now + 60 * second));
    /* Ten deaths, but not within a minute: the oldest of them is 61 s ago. */
    r = (struct respawn){.n_deaths = 0};
    for (int i = 1; i < RESPAWN_DEATHS; i++)
        (void)respawn_after_death(&r, true, now);
    now += 61 * second;
    (void)respawn_after_death(&r, true, now);
    CU_ASSERT_FALSE(respawn_is_looping(&r, now));
}
