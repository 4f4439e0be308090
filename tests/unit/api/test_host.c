/* SPDX-License-Identifier: MIT */
#include "../suite.h"
#include "parley/api/api.h"

#include <stdlib.h>
#include <string.h>

/* Fails if a long reason has no NUL, or a shorter one keeps the end of the last: tried. */
TEST(reasons)
{
    char out[API_REASON_MAX], longest[2 * API_REASON_MAX];
    struct api_host *host = calloc(1, sizeof *host);
    api_host_reload_reason(host, out);
    CU_ASSERT_STRING_EQUAL(out, "");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    api_host_set_reload_reason(host, longest);
    api_host_reload_reason(host, out);
    CU_ASSERT_EQUAL(strlen(out), API_REASON_MAX - 1);
    api_host_set_reload_reason(host, "PostgreSQL: away");
    api_host_reload_reason(host, out);
    CU_ASSERT_STRING_EQUAL(out, "PostgreSQL: away");
    free(host);
}
