/* SPDX-License-Identifier: MIT */
#include "parley/base/names.h"

#include "../suite.h"

static const struct {
    const char *name;
    int other;
} fields[] = {{"message_id", 1}, {"role", 2}, {"content", 3}, {"messages", 4}};

/* Fails if a short name is near to whatever is as short: tried. */
TEST(nearest)
{
    static const struct {
        const char *given, *nearest;
    } cases[] = {{"rol", "role"},
                 {"Role", "role"},
                 {"message", "messages"},
                 {"contents", "content"},
                 {"text", NULL},
                 {"", NULL},
                 {"id", NULL},
                 {"messageid", "message_id"},
                 {"a name that is longer than any that is known, by far more than there is", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = names_nearest(&NAMES(fields), sv_from(cases[i].given));
        CU_ASSERT_EQUAL(got == NULL, cases[i].nearest == NULL);
        if (got && cases[i].nearest)
            CU_ASSERT_STRING_EQUAL(got, cases[i].nearest);
    }
    CU_ASSERT_EQUAL(names_index(&NAMES(fields), SV("content")), 2);
    CU_ASSERT_EQUAL(names_index(&NAMES(fields), SV("contents")), ARRAY_LEN(fields));
}

/* Of two that are as near, the one that begins alike. */
TEST(hint)
{
    static const char *const orders[] = {"asc", "desc"};
    struct arena *a = test_ctx()->arena;
    CU_ASSERT_STRING_EQUAL(names_hint(a, &NAMES(orders), SV("dsc")),
                           " Did you mean `desc`? Allowed: asc, desc.");
    CU_ASSERT_STRING_EQUAL(names_hint(a, &NAMES(orders), SV("up")), " Allowed: asc, desc.");
    CU_ASSERT_STRING_EQUAL(names_hint(a, &(struct names){orders, 0, 1}, SV("x")),
                           " None is allowed.");
}
