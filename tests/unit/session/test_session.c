/* SPDX-License-Identifier: MIT */
#include "../../../src/session/session_internal.h"

#include <string.h>

#include "../suite.h"

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
