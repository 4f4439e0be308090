/* SPDX-License-Identifier: MIT */
#include "parley/db/migrate.h"

#include <string.h>

#include "../suite.h"

static void numbered_without_a_gap(void)
{
    size_t n = 0;
    const struct db_migration *table = db_migrations(&n);
    CU_ASSERT_TRUE(n > 0);
    for (size_t i = 0; i < n; i++) {
        CU_ASSERT_EQUAL(table[i].version, (int)i + 1);
        CU_ASSERT_TRUE(strlen(table[i].name) > 0);
        CU_ASSERT_TRUE(strlen(table[i].up) > 0);
        CU_ASSERT_TRUE(strlen(table[i].down) > 0);
    }
    CU_ASSERT_EQUAL(db_schema_version(), (int)n);
}

SUITE(db_migrate, "db migrate", {"numbered without a gap", numbered_without_a_gap})
