/* SPDX-License-Identifier: MIT */
#include "parley/json/members.h"

#include "parley/json/doc.h"

#include "../suite.h"

static const char *const names[] = {"id", "type", NULL};

/* Fails if names are compared without unescaping, or brackets in strings are counted: tried. */
TEST(others_keep_their_text)
{
    static const struct {
        const char *object, *rest;
    } cases[] = {
        {"{\"id\":1,\"a\": [1, 2],\"type\":\"x\",\"b\":1.50e2}", "{\"a\":[1, 2],\"b\":1.50e2}"},
        {"{\"\\u0069d\":1,\"i\\u00e4\":null}", "{\"i\\u00e4\":null}"},
        {"{ \"id\" : 1 ,\n\"type\":{\"id\":2} }", NULL},
        {"{}", NULL},
        {" { } ", NULL},
        {"{\"ids\":{\"id\":1}}", "{\"ids\":{\"id\":1}}"},
        {"{\"a\":\"}\\\",\",\"b\":[\"]\",{\"c\":\"{\"}],\"\":\"\\\\\"}",
         "{\"a\":\"}\\\",\",\"b\":[\"]\",{\"c\":\"{\"}],\"\":\"\\\\\"}"},
        {"{\"x\\\"\":true, \"y\":[]\t}", "{\"x\\\"\":true,\"y\":[]}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        struct sv out = SV_NONE;
        CU_ASSERT_EQUAL(json_doc_parse(ctx, sv_from(cases[i].object), json_everything, &d),
                        ERR_NONE);
        CU_ASSERT_EQUAL(json_members_without(ctx, sv_from(cases[i].object), names, &out), ERR_NONE);
        CU_ASSERT_EQUAL(out.p == NULL, cases[i].rest == NULL);
        CU_ASSERT_TRUE(!out.p || sv_eq(out, sv_from(cases[i].rest)));
    }
}

TEST(one_is_found)
{
    const struct sv object = SV("{\"a\":{\"b\":1},\"b\": \"x\" ,\"\\u0063\":[2]}");
    CU_ASSERT_TRUE(sv_eq(json_member_get(object, "b"), SV("\"x\"")));
    CU_ASSERT_TRUE(sv_eq(json_member_get(object, "c"), SV("[2]")));
    CU_ASSERT_PTR_NULL(json_member_get(object, "d").p);
    CU_ASSERT_PTR_NULL(json_member_get(SV_NONE, "a").p);
}
