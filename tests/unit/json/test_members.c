/* SPDX-License-Identifier: MIT */
#include "parley/json/members.h"

#include "../suite.h"

/* Fails if names are compared as they are written: tried with memcmp on the escaped text. */
static void others_keep_their_text(void)
{
    static const struct {
        const char *object, *rest;
    } cases[] = {
        {"{\"id\":1,\"a\": [1, 2],\"type\":\"x\",\"b\":1.50e2}", "{\"a\":[1, 2],\"b\":1.50e2}"},
        {"{\"\\u0069d\":1,\"i\\u00e4\":null}", "{\"i\\u00e4\":null}"},
        {"{\"id\":1,\"type\":2}", NULL},
        {"{}", NULL},
        {"{\"ids\":{\"id\":1}}", "{\"ids\":{\"id\":1}}"},
    };
    static const char *const names[] = {"id", "type", NULL};
    struct arena *a = arena_create(1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx ctx;
        struct jdoc d;
        struct sv out = SV_NONE;
        ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("r"));
        CU_ASSERT_EQUAL(jdoc_parse(&ctx, sv_from(cases[i].object), &d), ERR_NONE);
        CU_ASSERT_EQUAL(jmembers_without(&ctx, &d, d.nodes, names, &out), ERR_NONE);
        CU_ASSERT_EQUAL(out.p == NULL, cases[i].rest == NULL);
        CU_ASSERT_TRUE(!out.p || sv_eq(out, sv_from(cases[i].rest)));
    }
    arena_destroy(a);
}

SUITE(json_members, "json/members", {"others keep their text", others_keep_their_text})
