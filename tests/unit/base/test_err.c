/* SPDX-License-Identifier: MIT */
#include "parley/base/err.h"

#include <stddef.h>
#include <string.h>

#include "../suite.h"

/* Clients and dashboards depend on the names. */
TEST(names_are_distinct_and_stable)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        const char *name = err_name((enum err)i);
        CU_ASSERT_EQUAL(name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")], '\0');
        CU_ASSERT_STRING_NOT_EQUAL(name, "unknown");
        for (int j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(name, err_name((enum err)j));
    }
    CU_ASSERT_STRING_EQUAL(err_name(ERR_NOT_FOUND), "not_found");
    CU_ASSERT_STRING_EQUAL(err_name(ERR_OUTCOME_UNKNOWN), "outcome_unknown");
    CU_ASSERT_STRING_EQUAL(err_name(ERR_COUNT), "unknown");
    CU_ASSERT_STRING_EQUAL(err_name((enum err)4711), "unknown");
}
