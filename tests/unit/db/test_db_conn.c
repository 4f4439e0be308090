/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include "../suite.h"

TEST(sql_that_leaves_state)
{
    static const char *const leaves[] = {
        "SELECT set_config('a.b', $1, false)",
        "SELECT set_config('a', f('x)'), false), 'true'",
        "select SET_CONFIG('a', $1, $2)",
        "SELECT set_config('a', '1', true), set_config('b', '', FALSE )",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "set_config('a'"};
    static const char *const clean[] = {"SELECT 1", "SELECT set_config('a.b', $1, true)",
                                        "SELECT set_config('a', f(1, (2)), TRUE )",
                                        "SELECT set_config(')', '(', true)",
                                        "SELECT pg_advisory_xact_lock(1)"};
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++)
        CU_ASSERT_TRUE(db_sql_leaves_state(leaves[i]));
    for (size_t i = 0; i < ARRAY_LEN(clean); i++)
        CU_ASSERT_FALSE(db_sql_leaves_state(clean[i]));
}

TEST(tags_that_leave_state)
{
    static const char *const leaves[] = {"SET", "LISTEN", "PREPARE", "CREATE TABLE",
                                         "DO",  "",       "SELECTED"};
    static const char *const clean[] = {"SELECT 1", "INSERT 0 1", "UPDATE 0", "DELETE 7", "COMMIT"};
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++)
        CU_ASSERT_TRUE(db_tag_leaves_state(leaves[i]));
    for (size_t i = 0; i < ARRAY_LEN(clean); i++)
        CU_ASSERT_FALSE(db_tag_leaves_state(clean[i]));
}
