/* SPDX-License-Identifier: MIT */
#include "parley/base/nearest.h"

#include "../suite.h"

/* Fails if a short name may differ in more than one character, or a long one in more than three:
 * tried. */
TEST(likely_names_only)
{
    static const struct {
        const char *name;
        int other;
    } table[] = {{"id", 0}, {"limit", 0}, {"messages", 0}, {"PARLEY_THREADS", 0}};
    static const struct {
        const char *unknown, *nearest;
    } rows[] = {{"i", "id"},
                {"di", NULL},
                {"limt", "limit"},
                {"limits", "limit"},
                {"lmt", NULL},
                {"message", "messages"},
                {"mesagess", "messages"},
                {"mssgs", NULL},
                {"PARLEY_THRD", "PARLEY_THREADS"},
                {"PARLEY_THREADS_MAX", NULL},
                {"", NULL}};
    char unlike[100] = "";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *nearest = nearest_name(sv_from(rows[i].unknown), &table[0].name,
                                           ARRAY_LEN(table), sizeof(table[0]));
        CU_ASSERT_STRING_EQUAL(nearest ? nearest : "-", rows[i].nearest ? rows[i].nearest : "-");
    }
    const struct sv longest = {unlike, sizeof(unlike)};
    CU_ASSERT_PTR_NULL(nearest_name(longest, &table[0].name, ARRAY_LEN(table), sizeof(table[0])));
}
