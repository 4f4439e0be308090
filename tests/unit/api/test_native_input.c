/* SPDX-License-Identifier: MIT */
#include "../../../src/api/native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

enum { ROOM = 4 << 20 };

struct bench {
    struct arena *arena;
    struct request_ctx ctx;
    struct jdoc doc;
};

static void begin(struct bench *b)
{
    b->arena = arena_create(ROOM);
    ctx_init(&b->ctx, b->arena, deadline_in_ms(60000), SV("default"), SV("t"));
}

static enum err parse(struct bench *b, const char *text)
{
    begin(b);
    return jdoc_parse(&b->ctx, sv_from(text), &b->doc);
}

static void end(struct bench *b)
{
    arena_destroy(b->arena);
}

struct fault {
    const char *text, *field;
};

/* Each text is refused, and the field at fault is named in field and in no other way. */
static void expect_faults(const struct fault *faults, size_t n, enum err (*read)(struct bench *b))
{
    for (size_t i = 0; i < n; i++) {
        struct bench b;
        enum err e = parse(&b, faults[i].text);
        CU_ASSERT_EQUAL(e, ERR_NONE);
        if (e == ERR_NONE) {
            CU_ASSERT_EQUAL(read(&b), ERR_INVALID);
            CU_ASSERT_EQUAL(b.ctx.err.err, ERR_INVALID);
            CU_ASSERT_STRING_EQUAL(b.ctx.err.field, faults[i].field);
            CU_ASSERT_TRUE(b.ctx.err.detail[0] != '\0');
            if (strcmp(b.ctx.err.field, faults[i].field) != 0)
                fprintf(stderr, "%s: %s\n", faults[i].text, b.ctx.err.field);
        }
        end(&b);
    }
}

/* ---- drafts ---- */

static enum err read_draft(struct bench *b)
{
    struct session_draft d;
    return native_read_draft(&b->ctx, &b->doc, SV_NONE, &d);
}

static enum err read_draft_of_path(struct bench *b)
{
    struct session_draft d;
    return native_read_draft(&b->ctx, &b->doc, SV("in-path"), &d);
}

TEST(draft_defaults)
{
    struct bench b;
    struct session_draft d;
    CU_ASSERT_EQUAL(parse(&b, "{}"), ERR_NONE);
    CU_ASSERT_EQUAL(native_read_draft(&b.ctx, &b.doc, SV_NONE, &d), ERR_NONE);
    CU_ASSERT_PTR_NULL(d.session_id.p);
    CU_ASSERT_PTR_NULL(d.user_id.p);
    CU_ASSERT_TRUE(sv_eq(d.language, SV("en")));
    CU_ASSERT_TRUE(sv_eq(d.context, SV("{}")));
    CU_ASSERT_TRUE(sv_eq(d.metadata, SV("{}")));
    CU_ASSERT_EQUAL(d.ttl_seconds, 0);
    CU_ASSERT_TRUE(d.sliding);
    CU_ASSERT_EQUAL(d.n_messages, 0);
    end(&b);
}

TEST(draft_in_full)
{
    struct bench b;
    struct session_draft d;
    CU_ASSERT_EQUAL(
        parse(&b, "{\"session_id\":\"s:1\",\"user_id\":\"\\u00e9\",\"language\":\"pt-BR\","
                  "\"ttl_seconds\":60,\"expiry\":\"absolute\",\"context\":{\"a\":  1.0},"
                  "\"metadata\":{\"m\":[]},\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
                  "{\"type\":\"function_call\",\"content\":{\"f\":1},\"metadata\":{\"k\":2}},"
                  "{\"message_id\":\"m-1\",\"role\":\"a.b:c\",\"content\":[{\"t\":1}]}]}"),
        ERR_NONE);
    CU_ASSERT_EQUAL(native_read_draft(&b.ctx, &b.doc, SV_NONE, &d), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(d.session_id, SV("s:1")));
    CU_ASSERT_TRUE(sv_eq(d.user_id, SV("\xc3\xa9")));
    CU_ASSERT_TRUE(sv_eq(d.language, SV("pt-BR")));
    CU_ASSERT_EQUAL(d.ttl_seconds, 60);
    CU_ASSERT_FALSE(d.sliding);
    CU_ASSERT_TRUE(sv_eq(d.context, SV("{\"a\":  1.0}"))); /* as it was written */
    CU_ASSERT_EQUAL(d.n_messages, 3);
    if (d.n_messages == 3) {
        CU_ASSERT_TRUE(sv_eq(d.messages[0].type, SV("message")));
        CU_ASSERT_TRUE(sv_eq(d.messages[0].content, SV("\"x\"")));
        CU_ASSERT_TRUE(sv_eq(d.messages[0].metadata, SV("{}")));
        CU_ASSERT_PTR_NULL(d.messages[0].message_id.p);
        CU_ASSERT_PTR_NULL(d.messages[1].role.p);
        CU_ASSERT_TRUE(sv_eq(d.messages[1].content, SV("{\"f\":1}")));
        CU_ASSERT_TRUE(sv_eq(d.messages[1].metadata, SV("{\"k\":2}")));
        CU_ASSERT_TRUE(sv_eq(d.messages[2].message_id, SV("m-1")));
    }
    end(&b);
}

TEST(draft_of_a_path)
{
    static const struct fault other = {"{\"session_id\":\"other\"}", "session_id"};
    struct bench b;
    struct session_draft d;
    CU_ASSERT_EQUAL(parse(&b, "{\"session_id\":\"in-path\",\"message\":{\"role\":\"user\","
                              "\"content\":\"x\"}}"),
                    ERR_NONE);
    CU_ASSERT_EQUAL(native_read_draft(&b.ctx, &b.doc, SV("in-path"), &d), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(d.session_id, SV("in-path")));
    CU_ASSERT_EQUAL(d.n_messages, 1);
    end(&b);
    expect_faults(&other, 1, read_draft_of_path);
}

/* Fails if a check is left out of check_session or check_message: tried with expiry, user_id and
 * role. */
TEST(draft_faults)
{
    static const struct fault faults[] = {
        {"{\"session_id\":1}", "session_id"},
        {"{\"session_id\":null}", "session_id"},
        {"{\"session_id\":\"\"}", "session_id"},
        {"{\"session_id\":\"a/b\"}", "session_id"},
        {"{\"session_id\":\"..\"}", "session_id"},
        {"{\"user_id\":1}", "user_id"},
        {"{\"user_id\":\"\"}", "user_id"},
        {"{\"user_id\":\"a\\u0001\"}", "user_id"},
        {"{\"language\":null}", "language"},
        {"{\"language\":\"\"}", "language"},
        {"{\"language\":\"en us\"}", "language"},
        {"{\"language\":\"abcdefghijklmnopqrstuvwxyzabcdefghij\"}", "language"},
        {"{\"ttl_seconds\":0}", "ttl_seconds"},
        {"{\"ttl_seconds\":-1}", "ttl_seconds"},
        {"{\"ttl_seconds\":1.5}", "ttl_seconds"},
        {"{\"ttl_seconds\":1e3}", "ttl_seconds"},
        {"{\"ttl_seconds\":\"60\"}", "ttl_seconds"},
        {"{\"ttl_seconds\":true}", "ttl_seconds"},
        {"{\"ttl_seconds\":18446744073709551615}", "ttl_seconds"},
        {"{\"ttl_seconds\":3153600001}", "ttl_seconds"},
        {"{\"expiry\":\"never\"}", "expiry"},
        {"{\"expiry\":1}", "expiry"},
        {"{\"context\":[]}", "context"},
        {"{\"context\":null}", "context"},
        {"{\"context\":\"{}\"}", "context"},
        {"{\"metadata\":1}", "metadata"},
        {"{\"message\":[]}", "message"},
        {"{\"message\":{}}", "message.role"},
        {"{\"message\":{\"role\":\"user\"}}", "message.content"},
        {"{\"message\":{\"role\":\"user\",\"content\":\"x\"},\"messages\":[]}", "message"},
        {"{\"messages\":{}}", "messages"},
        {"{\"messages\":[1]}", "messages[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},null]}", "messages[1]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"content\":\"x\"}]}",
         "messages[1].role"},
        {"{\"version\":1}", "version"},
        {"{\"sessionid\":\"a\"}", "sessionid"},
    };
    expect_faults(faults, ARRAY_LEN(faults), read_draft);
}

/* ---- patches ---- */

static enum err read_patch(struct bench *b)
{
    struct session_patch p;
    return native_read_patch(&b->ctx, &b->doc, &p);
}

TEST(patch_of_nothing)
{
    struct bench b;
    struct session_patch p;
    CU_ASSERT_EQUAL(parse(&b, "{}"), ERR_NONE);
    CU_ASSERT_EQUAL(native_read_patch(&b.ctx, &b.doc, &p), ERR_NONE);
    CU_ASSERT_FALSE(p.has_user_id || p.has_language || p.has_ttl);
    CU_ASSERT_PTR_NULL(p.context.p);
    CU_ASSERT_PTR_NULL(p.metadata.p);
    end(&b);
}

/* Fails if a null is taken for a member that was not given: tried. */
TEST(patch_of_nulls)
{
    struct bench b;
    struct session_patch p;
    CU_ASSERT_EQUAL(parse(&b, "{\"user_id\":null,\"language\":null,\"ttl_seconds\":null,"
                              "\"context\":null,\"metadata\":null}"),
                    ERR_NONE);
    CU_ASSERT_EQUAL(native_read_patch(&b.ctx, &b.doc, &p), ERR_NONE);
    CU_ASSERT_TRUE(p.has_user_id && p.has_language && p.has_ttl);
    CU_ASSERT_PTR_NULL(p.user_id.p);
    CU_ASSERT_TRUE(sv_eq(p.language, SV("en")));
    CU_ASSERT_EQUAL(p.ttl_seconds, 0);
    CU_ASSERT_TRUE(sv_eq(p.context, SV("null")));
    CU_ASSERT_TRUE(sv_eq(p.metadata, SV("null")));
    end(&b);
}

TEST(patch_in_full)
{
    struct bench b;
    struct session_patch p;
    CU_ASSERT_EQUAL(parse(&b, "{\"user_id\":\"u2\",\"language\":\"de\",\"ttl_seconds\":5,"
                              "\"context\":{\"a\":null},\"metadata\":{}}"),
                    ERR_NONE);
    CU_ASSERT_EQUAL(native_read_patch(&b.ctx, &b.doc, &p), ERR_NONE);
    CU_ASSERT_TRUE(p.has_user_id && p.has_language && p.has_ttl);
    CU_ASSERT_TRUE(sv_eq(p.user_id, SV("u2")));
    CU_ASSERT_TRUE(sv_eq(p.language, SV("de")));
    CU_ASSERT_EQUAL(p.ttl_seconds, 5);
    CU_ASSERT_TRUE(sv_eq(p.context, SV("{\"a\":null}")));
    CU_ASSERT_TRUE(sv_eq(p.metadata, SV("{}")));
    end(&b);
}

TEST(patch_faults)
{
    static const struct fault faults[] = {
        {"{\"session_id\":\"s\"}", "session_id"}, {"{\"version\":1}", "version"},
        {"{\"expiry\":\"absolute\"}", "expiry"},  {"{\"messages\":[]}", "messages"},
        {"{\"user_id\":\"\"}", "user_id"},        {"{\"user_id\":5}", "user_id"},
        {"{\"language\":\"x y\"}", "language"},   {"{\"ttl_seconds\":0}", "ttl_seconds"},
        {"{\"context\":1}", "context"},           {"{\"metadata\":[]}", "metadata"}};
    expect_faults(faults, ARRAY_LEN(faults), read_patch);
}

/* ---- messages ---- */

static enum err read_messages(struct bench *b)
{
    struct session_append a = {.create = false};
    bool single;
    return native_read_messages(&b->ctx, &b->doc, &a, &single);
}

TEST(one_message_or_many)
{
    struct bench b;
    struct session_append a = {.create = true, .return_n = 3};
    bool single = false;
    CU_ASSERT_EQUAL(parse(&b, "{\"role\":\"user\",\"content\":[]}"), ERR_NONE);
    CU_ASSERT_EQUAL(native_read_messages(&b.ctx, &b.doc, &a, &single), ERR_NONE);
    CU_ASSERT_TRUE(single && a.n_messages == 1 && a.create && a.return_n == 3);
    CU_ASSERT_TRUE(sv_eq(a.messages[0].content, SV("[]")));
    end(&b);
    CU_ASSERT_EQUAL(parse(&b, "{\"messages\":[{\"type\":\"x\"},{\"type\":\"y\"}]}"), ERR_NONE);
    CU_ASSERT_EQUAL(native_read_messages(&b.ctx, &b.doc, &a, &single), ERR_NONE);
    CU_ASSERT_TRUE(!single && a.n_messages == 2);
    CU_ASSERT_TRUE(sv_eq(a.messages[1].type, SV("y")));
    CU_ASSERT_PTR_NULL(a.messages[1].content.p);
    end(&b);
}

TEST(message_faults)
{
    static const struct fault faults[] = {
        {"{}", "role"},
        {"{\"role\":\"user\"}", "content"},
        {"{\"content\":\"x\"}", "role"},
        {"{\"role\":null,\"content\":\"x\"}", "role"},
        {"{\"role\":\"\",\"content\":\"x\"}", "role"},
        {"{\"role\":\"a b\",\"content\":\"x\"}", "role"},
        {"{\"role\":\"\\u00e9\",\"content\":\"x\"}", "role"},
        {"{\"role\":\"user\",\"content\":null}", "content"},
        {"{\"role\":\"user\",\"content\":1}", "content"},
        {"{\"role\":\"user\",\"content\":{}}", "content"},
        {"{\"type\":\"call\",\"content\":true}", "content"},
        {"{\"type\":\"\"}", "type"},
        {"{\"type\":\"a/b\"}", "type"},
        {"{\"type\":\"call\",\"role\":\"a b\"}", "role"},
        {"{\"message_id\":\"5\",\"role\":\"user\",\"content\":\"x\"}", "message_id"},
        {"{\"message_id\":\"a b\",\"role\":\"user\",\"content\":\"x\"}", "message_id"},
        {"{\"message_id\":\"\",\"role\":\"user\",\"content\":\"x\"}", "message_id"},
        {"{\"message_id\":null,\"role\":\"user\",\"content\":\"x\"}", "message_id"},
        {"{\"role\":\"user\",\"content\":\"x\",\"metadata\":[]}", "metadata"},
        {"{\"role\":\"user\",\"content\":\"x\",\"seq\":1}", "seq"},
        {"{\"messages\":[]}", "messages"},
        {"{\"messages\":null}", "messages"},
        {"{\"messages\":{}}", "messages"},
        {"{\"messages\":[{\"type\":\"x\"}],\"role\":\"user\"}", "role"},
        {"{\"messages\":[{\"type\":\"x\"},{\"role\":\"user\",\"content\":\"x\"},"
         "{\"type\":\"x\",\"created_at\":\"now\"}]}",
         "messages[2].created_at"},
        {"{\"messages\":[{\"type\":\"x\"},{\"message_id\":\"1\",\"type\":\"x\"}]}",
         "messages[1].message_id"}};
    expect_faults(faults, ARRAY_LEN(faults), read_messages);
}

/* {"messages":[n times a message]} */
static char *many(size_t n)
{
    static const char one[] = "{\"type\":\"x\"},";
    char *text = malloc(n * sizeof(one) + 32);
    CU_ASSERT_PTR_NOT_NULL(text);
    if (!text)
        return NULL;
    size_t at = (size_t)sprintf(text, "{\"messages\":[");
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(text + at, "%s", one);
    sprintf(text + at - 1, "]}");
    return text;
}

TEST(at_most_so_many)
{
    struct bench b;
    char *most = many(SESSION_MESSAGES_MAX), *more = many(SESSION_MESSAGES_MAX + 1);
    if (most && more) {
        const struct fault fault = {more, "messages"};
        CU_ASSERT_EQUAL(parse(&b, most), ERR_NONE);
        CU_ASSERT_EQUAL(read_messages(&b), ERR_NONE);
        end(&b);
        CU_ASSERT_EQUAL(parse(&b, most), ERR_NONE);
        CU_ASSERT_EQUAL(read_draft(&b), ERR_NONE);
        end(&b);
        expect_faults(&fault, 1, read_messages);
        expect_faults(&fault, 1, read_draft);
    }
    free(most);
    free(more);
}
