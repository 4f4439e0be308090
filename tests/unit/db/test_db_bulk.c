/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include "../suite.h"

TEST(names_are_quoted)
{
    static const char *const names[][2] = {{"plain", "\"plain\""},
                                           {"a.b", "\"a.b\""},
                                           {"x\"; DROP", "\"x\"\"; DROP\""},
                                           {"\"", "\"\"\"\""}};
    struct arena *arena = test_ctx()->arena;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf b;
        buf_init(&b, arena, 16);
        db_quote_name(&b, names[i][0]);
        CU_ASSERT_TRUE(sv_eq(buf_get(&b), sv_from(names[i][1])));
    }
}
