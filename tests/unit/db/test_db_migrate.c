/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include <string.h>

#include "../suite.h"

TEST(numbered_without_a_gap)
{
    const size_t n = db_migration_count;
    const struct db_migration *table = db_migration_table;
    CU_ASSERT_TRUE(n > 0);
    for (size_t i = 0; i < n; i++) {
        CU_ASSERT_EQUAL(table[i].version, (int)i + 1);
        CU_ASSERT_TRUE(strlen(table[i].name) > 0);
        CU_ASSERT_TRUE(strlen(table[i].up) > 0);
        CU_ASSERT_TRUE(strlen(table[i].down) > 0);
        CU_ASSERT_TRUE(table[i].min_compatible <= table[i].version);
        /* A later schema supports no program that an earlier one does not support. */
        CU_ASSERT_TRUE(i == 0 || table[i].min_compatible >= table[i - 1].min_compatible);
    }
    CU_ASSERT_EQUAL(db_schema_version(), (int)n);
}
