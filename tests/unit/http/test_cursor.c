/* SPDX-License-Identifier: MIT */
#include "parley/http/cursor.h"

#include <string.h>

#include "../suite.h"
#include "rig.h"

enum { ROOM = 1 << 20 };

static void open_rig(struct http_rig *r, struct sv tenant)
{
    http_rig_open(r, ROOM, "GET", SV("/"));
    r->ctx.tenant = tenant;
}

static bool reads(struct http_rig *r, const char *list, struct sv owner, struct sv text,
                  int64_t place[2])
{
    ctx_clear_error(&r->ctx);
    bool ok = http_cursor_read(&r->ctx, list, owner, text, place) == ERR_NONE;
    if (!ok)
        CU_ASSERT_TRUE(r->ctx.err.err == ERR_INVALID && strcmp(r->ctx.err.field, "cursor") == 0);
    return ok;
}

TEST(back_and_forth)
{
    static const int64_t places[][2] = {
        {0, 0}, {1, 2}, {INT64_MAX, INT64_MIN}, {-1, INT64_MAX}, {INT64_C(1795488595864396), 74}};
    struct http_rig r;
    open_rig(&r, SV("t1"));
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct sv text = SV_NONE;
        int64_t got[2] = {7, 7};
        CU_ASSERT_EQUAL(http_cursor_make(&r.ctx, "l", SV("ann"), places[i], &text), ERR_NONE);
        CU_ASSERT_TRUE(reads(&r, "l", SV("ann"), text, got));
        CU_ASSERT_TRUE(got[0] == places[i][0] && got[1] == places[i][1]);
        for (size_t k = 0; k < text.n; k++)
            CU_ASSERT_PTR_NOT_NULL(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                          "0123456789-_",
                                          text.p[k]));
    }
    http_rig_close(&r);
}

/* Fails if one of tenant, list and owner is left out of the checksum, or its length: tried. */
TEST(of_another_list)
{
    struct http_rig r, other;
    struct sv text = SV_NONE;
    const int64_t place[2] = {1, 2};
    int64_t got[2];
    open_rig(&r, SV("t1"));
    open_rig(&other, SV("t2"));
    CU_ASSERT_EQUAL(http_cursor_make(&r.ctx, "l", SV("ann"), place, &text), ERR_NONE);
    CU_ASSERT_TRUE(reads(&r, "l", SV("ann"), text, got));
    CU_ASSERT_FALSE(reads(&other, "l", SV("ann"), text, got));
    CU_ASSERT_FALSE(reads(&r, "l", SV("bob"), text, got));
    CU_ASSERT_FALSE(reads(&r, "l", SV(""), text, got));
    CU_ASSERT_FALSE(reads(&r, "m", SV("ann"), text, got));
    /* Where the parts only move over their borders. */
    r.ctx.tenant = SV("t");
    CU_ASSERT_FALSE(reads(&r, "l", SV("1ann"), text, got));
    r.ctx.tenant = SV("t1a");
    CU_ASSERT_FALSE(reads(&r, "l", SV("nn"), text, got));
    http_rig_close(&r);
    http_rig_close(&other);
}

/* Any other character anywhere, cut short, made longer. Fails if the checksum is not compared, or
 * if it is left to libsodium which spelling is good: tried. */
TEST(tampered)
{
    static const char all[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n\xad\xdf";
    struct http_rig r;
    struct sv text = SV_NONE;
    const int64_t place[2] = {-1, 74}; /* with underscores in its text */
    int64_t got[2];
    char copy[64] = "";
    unsigned wrong = 0;
    open_rig(&r, SV("t1"));
    CU_ASSERT_EQUAL(http_cursor_make(&r.ctx, "l", SV("ann"), place, &text), ERR_NONE);
    CU_ASSERT_TRUE(text.n > 0 && text.n < sizeof(copy) - 4);
    for (size_t i = 0; i < text.n; i++) {
        for (size_t k = 0; all[k]; k++) {
            memcpy(copy, text.p, text.n);
            copy[i] = all[k];
            if (copy[i] != text.p[i])
                wrong += reads(&r, "l", SV("ann"), (struct sv){copy, text.n}, got);
        }
        wrong += reads(&r, "l", SV("ann"), (struct sv){text.p, i}, got);
    }
    memcpy(copy, text.p, text.n);
    memcpy(copy + text.n, "AAAA", 4);
    for (size_t more = 1; more <= 4; more++)
        wrong += reads(&r, "l", SV("ann"), (struct sv){copy, text.n + more}, got);
    CU_ASSERT_EQUAL(wrong, 0);
    http_rig_close(&r);
}
