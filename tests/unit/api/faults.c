/* SPDX-License-Identifier: MIT */
#include "faults.h"

#include "api/common/handler.h"

#include <stdio.h>
#include <string.h>

const struct json_input *parse(struct request_ctx *ctx, const char *text)
{
    struct json_input *body = arena_alloc(ctx->arena, sizeof(*body));
    struct json_doc *doc = arena_zalloc(ctx->arena, sizeof(*doc));
    char *json = arena_alloc(ctx->arena, strlen(text) + 1);
    for (size_t i = 0; i <= strlen(text); i++)
        json[i] = (char)(text[i] == '\'' ? '"' : text[i]);
    CU_ASSERT_EQUAL_FATAL(json_doc_parse(ctx, sv_from(json), api_body_shape, doc), ERR_NONE);
    *body = (struct json_input){ctx, doc, doc->nodes, ""};
    return body;
}

void expect_json(struct sv got, const char *want)
{
    bool same = want ? got.p && got.n == strlen(want) : !got.p;
    for (size_t i = 0; want && same && i < got.n; i++)
        same = got.p[i] == (want[i] == '\'' ? '"' : want[i]);
    CU_ASSERT_TRUE(same);
    if (!same)
        fprintf(stderr, "%s: %.*s\n", want ? want : "nothing", SV_ARG(got));
}

void expect_faults(const struct fault *faults, size_t n, read_fn read)
{
    for (size_t i = 0; i < n; i++)
        for (struct sv rest = sv_from(faults[i].texts); rest.p;) {
            struct request_ctx *ctx = test_ctx();
            const struct sv text = arena_dup(ctx->arena, sv_cut(&rest, '|'));
            CU_ASSERT_EQUAL(read(parse(ctx, text.p)), ERR_INVALID);
            CU_ASSERT_EQUAL(ctx->err.err, ERR_INVALID);
            CU_ASSERT_STRING_EQUAL(ctx->err.field, faults[i].field);
            CU_ASSERT_TRUE(ctx->err.detail[0] != '\0');
            if (strcmp(ctx->err.field, faults[i].field) != 0)
                fprintf(stderr, "%s: %s\n", text.p, ctx->err.field);
        }
}

void expect_detail(const char *text, const char *detail, read_fn read)
{
    struct request_ctx *ctx = test_ctx();
    CU_ASSERT_EQUAL(read(parse(ctx, text)), ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(ctx->err.detail, detail);
}
