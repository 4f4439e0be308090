/* SPDX-License-Identifier: MIT */
#include "../../../src/session/session_internal.h"

#include <string.h>

#include "../suite.h"

TEST(session_ids)
{
    char longest[SESSION_ID_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    CU_ASSERT_TRUE(session_id_valid((struct sv){longest, 1}));
    CU_ASSERT_TRUE(session_id_valid((struct sv){longest, SESSION_ID_MAX}));
    CU_ASSERT_FALSE(session_id_valid((struct sv){longest, SESSION_ID_MAX + 1}));
    static const char *const good[] = {"telegram:12345", "a.b_c:d-e", "...", "-", "0", "A..", ".a"};
    static const char *const bad[] = {"",    ".",        "..",  "a/b", "a b",  "a%",  "~5",
                                      "a\n", "\xc3\xa9", "a,b", "a'b", "a{b}", "a@b", "a\\b"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CU_ASSERT_TRUE(session_id_valid(sv_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(session_id_valid(sv_from(bad[i])));
    CU_ASSERT_FALSE(session_id_valid(SV_NONE));
    CU_ASSERT_FALSE(session_id_valid((struct sv){"a\0b", 3}));
}

/* Every byte, one by one: the alphabet is the one of the interface and nothing more. "~",
 * which the ids of tombstones begin with, is not in it. */
TEST(alphabet)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    for (int c = 0; c < 256; c++) {
        char id[2] = {'x', (char)c};
        bool is_allowed = c != 0 && strchr(allowed, c) != NULL;
        CU_ASSERT_EQUAL(session_id_valid((struct sv){id, 2}), is_allowed);
    }
}

/* The statements ask for expires_at > now(): at that instant the session is over. Fails if the
 * predicate says "before" instead of "not after": tried. */
TEST(expiry)
{
    static const struct {
        int64_t now_us;
        bool expired;
    } rows[] = {{999, false}, {1000, true},       {1001, true},
                {0, false},   {INT64_MIN, false}, {INT64_MAX, true}};
    const struct session s = {.expires_at = 1000};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CU_ASSERT_EQUAL(session_is_expired(&s, rows[i].now_us), rows[i].expired);
}

/* NULL: absent. A caller that names a user, even "", never gets a session that belongs to nobody.
 */
TEST(users)
{
    static const struct {
        const char *owner, *user;
        bool matches;
    } rows[] = {{"u1", NULL, true}, {NULL, NULL, true},   {"u1", "u1", true},
                {"u1", "u", false}, {"u1", "u12", false}, {"u1", "U1", false},
                {"u1", "", false},  {NULL, "u1", false},  {NULL, "", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct session s = {.user_id = sv_from(rows[i].owner)};
        CU_ASSERT_EQUAL(session_user_matches(&s, sv_from(rows[i].user)), rows[i].matches);
    }
}
