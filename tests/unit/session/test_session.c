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

/* Every byte, one by one: the alphabet is the one of the interface and nothing more. "~", which
 * deleted sessions are put aside under, is not in it. */
TEST(alphabet)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    for (int c = 0; c < 256; c++) {
        char id[2] = {'x', (char)c};
        bool is_allowed = c != 0 && strchr(allowed, c) != NULL;
        CU_ASSERT_EQUAL(session_id_valid((struct sv){id, 2}), is_allowed);
        CU_ASSERT_EQUAL(session_message_id_valid((struct sv){id, 2}), is_allowed);
    }
}

/* Digits alone name a message by its seq. */
TEST(message_ids)
{
    CU_ASSERT_FALSE(session_message_id_valid(SV("1")));
    CU_ASSERT_FALSE(session_message_id_valid(SV("00123456789")));
    CU_ASSERT_FALSE(session_message_id_valid(SV("")));
    CU_ASSERT_FALSE(session_message_id_valid(SV("..")));
    CU_ASSERT_TRUE(session_message_id_valid(SV("1a")));
    CU_ASSERT_TRUE(session_message_id_valid(SV("-1")));
    CU_ASSERT_TRUE(session_message_id_valid(SV("msg_1")));
}

/* The instant itself is over: expires_at > now() is what the statements ask for. Fails if the
 * predicate says "before" instead of "not after": tried. */
TEST(expiry)
{
    const struct session s = {.expires_at = 1000};
    CU_ASSERT_FALSE(session_is_expired(&s, 999));
    CU_ASSERT_TRUE(session_is_expired(&s, 1000));
    CU_ASSERT_TRUE(session_is_expired(&s, 1001));
    CU_ASSERT_FALSE(session_is_expired(&s, 0));
    CU_ASSERT_FALSE(session_is_expired(&s, INT64_MIN));
    CU_ASSERT_TRUE(session_is_expired(&s, INT64_MAX));
}

TEST(users)
{
    const struct session of_u1 = {.user_id = SV("u1")};
    const struct session of_nobody = {.user_id = SV_NONE};
    CU_ASSERT_TRUE(session_user_matches(&of_u1, SV_NONE));
    CU_ASSERT_TRUE(session_user_matches(&of_nobody, SV_NONE));
    CU_ASSERT_TRUE(session_user_matches(&of_u1, SV("u1")));
    CU_ASSERT_FALSE(session_user_matches(&of_u1, SV("u")));
    CU_ASSERT_FALSE(session_user_matches(&of_u1, SV("u12")));
    CU_ASSERT_FALSE(session_user_matches(&of_u1, SV("U1")));
    CU_ASSERT_FALSE(session_user_matches(&of_u1, SV("")));
    /* Whoever names a user never gets a session that belongs to nobody, not even by "". */
    CU_ASSERT_FALSE(session_user_matches(&of_nobody, SV("u1")));
    CU_ASSERT_FALSE(session_user_matches(&of_nobody, SV("")));
}
