/* SPDX-License-Identifier: MIT */
#include "../../../src/api/native/native.h"

#include <stdio.h>

#include "faults.h"

/* ---- drafts ---- */

static enum err read_draft(const struct json_input *body)
{
    struct session_draft d;
    return native_read_draft(body, SV_NONE, SV_NONE, &d);
}

static enum err read_draft_of_path(const struct json_input *body)
{
    struct session_draft d;
    return native_read_draft(body, SV("in-path"), SV_NONE, &d);
}

static struct session_draft draft_of(const char *text, struct sv id_of_path)
{
    struct request_ctx *ctx = test_ctx();
    struct session_draft d;
    CU_ASSERT_EQUAL(native_read_draft(parse(ctx, text), id_of_path, SV_NONE, &d), ERR_NONE);
    return d;
}

TEST(draft_defaults)
{
    const struct session_draft d = draft_of("{}", SV_NONE);
    CU_ASSERT_TRUE(!d.session_id.p && !d.user_id.p && d.n_messages == 0);
    expect_json(d.language, "en");
    expect_json(d.context, "{}");
    expect_json(d.metadata, "{}");
    CU_ASSERT_TRUE(d.sliding && d.ttl_seconds == 0);
}

TEST(draft_in_full)
{
    const struct session_draft d =
        draft_of("{'session_id':'s:1','user_id':'\\u00e9','language':'pt-BR','ttl_seconds':60,'"
                 "expiry':'absolute','context':{'a':  "
                 "1.0},'metadata':{'m':[]},'messages':[{'role':'user','content':'x'},{'type':'"
                 "function_call','content':{'f':1},'metadata':{'k':2}},{'message_id':'m-1','role':'"
                 "a.b:c','content':[{'t':1}]}]}",
                 SV_NONE);
    expect_json(d.session_id, "s:1");
    expect_json(d.user_id, "\xc3\xa9");
    expect_json(d.language, "pt-BR");
    CU_ASSERT_TRUE(!d.sliding && d.ttl_seconds == 60);
    expect_json(d.context, "{'a':  1.0}"); /* as it was written */
    CU_ASSERT_EQUAL_FATAL(d.n_messages, 3);
    expect_json(d.messages[0].type, "message");
    expect_json(d.messages[0].content, "'x'");
    expect_json(d.messages[0].metadata, "{}");
    CU_ASSERT_TRUE(!d.messages[0].message_id.p && !d.messages[1].role.p);
    expect_json(d.messages[1].content, "{'f':1}");
    expect_json(d.messages[1].metadata, "{'k':2}");
    expect_json(d.messages[2].message_id, "m-1");
}

TEST(draft_of_a_path)
{
    static const struct fault other = {"session_id", "{'session_id':'other'}"};
    const struct session_draft d =
        draft_of("{'session_id':'in-path','message':{'role':'user','content':'x'}}", SV("in-path"));
    expect_json(d.session_id, "in-path");
    CU_ASSERT_EQUAL(d.n_messages, 1);
    expect_faults(&other, 1, read_draft_of_path);
}

/* Fails if a check is left out of check_session or check_message: tried with expiry, user_id and
 * role. */
TEST(draft_faults)
{
    static const struct fault faults[] = {
        {"session_id", "{'session_id':1}|{'session_id':''}|"
                       "{'session_id':'a/./b'}|{'session_id':'..'}"},
        {"user_id", "{'user_id':1}|{'user_id':''}|{'user_id':'a\\u0001'}"},
        {"language", "{'language':''}|{'language':'en us'}|"
                     "{'language':'abcdefghijklmnopqrstuvwxyzabcdefghij'}"},
        {"ttl_seconds", "{'ttl_seconds':0}|{'ttl_seconds':-1}|{'ttl_seconds':1.5}|"
                        "{'ttl_seconds':1e3}|{'ttl_seconds':'60'}|{'ttl_seconds':true}|"
                        "{'ttl_seconds':18446744073709551615}|{'ttl_seconds':3153600001}"},
        {"expiry", "{'expiry':'never'}|{'expiry':1}"},
        {"context", "{'context':[]}|{'context':'{}'}"},
        {"metadata", "{'metadata':1}"},
        {"message", "{'message':[]}|"
                    "{'message':{'role':'user','content':'x'},'messages':[]}"},
        {"message.role", "{'message':{}}"},
        {"message.content", "{'message':{'role':'user'}}"},
        {"messages", "{'messages':{}}"},
        {"messages[0]", "{'messages':[1]}"},
        {"messages[1]", "{'messages':[{'role':'user','content':'x'},null]}"},
        {"messages[1].role", "{'messages':[{'role':'user','content':'x'},{'content':'x'}]}"},
        {"version", "{'version':1}"},
        {"sessionid", "{'sessionid':'a'}"}};
    expect_faults(faults, ARRAY_LEN(faults), read_draft);
}

/* ---- patches ---- */

static enum err read_patch(const struct json_input *body)
{
    struct session_patch p;
    return native_read_patch(body, &p);
}

static struct session_patch patch_of(const char *text)
{
    struct request_ctx *ctx = test_ctx();
    struct session_patch p;
    CU_ASSERT_EQUAL(native_read_patch(parse(ctx, text), &p), ERR_NONE);
    return p;
}

TEST(patch_of_nothing)
{
    const struct session_patch p = patch_of("{}");
    CU_ASSERT_FALSE(p.has_user_id || p.has_language || p.has_ttl || p.context.p || p.metadata.p);
}

/* Fails if a null is taken for a member that was not given: tried. */
TEST(patch_of_nulls)
{
    const struct session_patch p = patch_of(
        "{'user_id':null,'language':null,'ttl_seconds':null,'context':null,'metadata':null}");
    CU_ASSERT_TRUE(p.has_user_id && p.has_language && p.has_ttl);
    CU_ASSERT_TRUE(!p.user_id.p && p.ttl_seconds == 0);
    expect_json(p.language, "en");
    expect_json(p.context, "null");
    expect_json(p.metadata, "null");
}

TEST(patch_in_full)
{
    const struct session_patch p = patch_of(
        "{'user_id':'u2','language':'de','ttl_seconds':5,'context':{'a':null},'metadata':{}}");
    CU_ASSERT_TRUE(p.has_user_id && p.has_language && p.has_ttl);
    expect_json(p.user_id, "u2");
    expect_json(p.language, "de");
    CU_ASSERT_EQUAL(p.ttl_seconds, 5);
    expect_json(p.context, "{'a':null}");
    expect_json(p.metadata, "{}");
}

TEST(patch_faults)
{
    static const struct fault faults[] = {{"session_id", "{'session_id':'s'}"},
                                          {"version", "{'version':1}"},
                                          {"expiry", "{'expiry':'absolute'}"},
                                          {"messages", "{'messages':[]}"},
                                          {"user_id", "{'user_id':''}|{'user_id':5}"},
                                          {"language", "{'language':'x y'}"},
                                          {"ttl_seconds", "{'ttl_seconds':0}"},
                                          {"context", "{'context':1}"},
                                          {"metadata", "{'metadata':[]}"}};
    expect_faults(faults, ARRAY_LEN(faults), read_patch);
}

/* ---- messages ---- */

static enum err read_messages(const struct json_input *body)
{
    struct session_append a = {.create = false};
    bool single;
    return native_read_messages(body, &a, &single);
}

TEST(one_message_or_many)
{
    struct request_ctx *ctx = test_ctx();
    struct session_append a = {.create = true};
    bool single = false;
    CU_ASSERT_EQUAL(native_read_messages(parse(ctx, "{'role':'user','content':[]}"), &a, &single),
                    ERR_NONE);
    CU_ASSERT_TRUE(single && a.n_messages == 1 && a.create);
    expect_json(a.messages[0].content, "[]");
    CU_ASSERT_EQUAL(
        native_read_messages(parse(ctx, "{'messages':[{'type':'x'},{'type':'y'}]}"), &a, &single),
        ERR_NONE);
    CU_ASSERT_TRUE(!single && a.n_messages == 2);
    expect_json(a.messages[1].type, "y");
    CU_ASSERT_PTR_NULL(a.messages[1].content.p);
}

TEST(message_faults)
{
    static const struct fault faults[] = {
        {"role", "{}|{'content':'x'}|{'role':null,'content':'x'}|"
                 "{'role':'','content':'x'}|{'role':'a b','content':'x'}|"
                 "{'role':'\\u00e9','content':'x'}|{'type':'call','role':'a b'}|"
                 "{'messages':[{'type':'x'}],'role':'user'}"},
        {"content", "{'role':'user'}|{'role':'user','content':null}|"
                    "{'role':'user','content':1}|{'role':'user','content':{}}|"
                    "{'type':'call','content':true}"},
        {"type", "{'type':''}|{'type':'a/b'}"},
        {"message_id", "{'message_id':'..','role':'user','content':'x'}|"
                       "{'message_id':'a\\u0001','role':'user','content':'x'}|"
                       "{'message_id':'','role':'user','content':'x'}"},
        {"metadata", "{'role':'user','content':'x','metadata':[]}"},
        {"seq", "{'role':'user','content':'x','seq':1}"},
        {"messages", "{'messages':[]}|{'messages':{}}"},
        {"messages[2].created_at", "{'messages':[{'type':'x'},{'role':'user','content':'x'},{'type'"
                                   ":'x','created_at':'now'}]}"},
        {"messages[1].message_id", "{'messages':[{'type':'x'},{'message_id':'a/..','type':'x'}]}"},
        {"message", "{'messages':null}|{'message':null}|{'message':{},'messages':[1]}"},
        {"message.role", "{'message':{}}"},
        {"tool_calls", "{'role':'user','content':'x','tool_calls':{}}"}};
    expect_faults(faults, ARRAY_LEN(faults), read_messages);
}

TEST(details_help)
{
    expect_detail("{'mesages':[]}",
                  "There is no such field. Did you mean `messages`? Allowed: session_id, user_id, "
                  "language, expiry, ttl_seconds, context, metadata, message, messages.",
                  read_draft);
    expect_detail("{'sender':'user'}",
                  "There is no such field. Allowed: message_id, type, role, content, metadata, "
                  "extra, tokens, name, tool_calls, tool_call_id, function_call, refusal, audio, "
                  "annotations.",
                  read_messages);
    expect_detail("{'expiry':'slide'}",
                  "expiry has no such value. Did you mean `sliding`? Allowed: sliding, absolute.",
                  read_draft);
}

/* {"messages":[n times a message]}, until the next one. */
static const char *many(size_t n)
{
    static const char one[] = "{'type':'x'},";
    static char text[(SESSION_MESSAGES_MAX + 1) * sizeof(one) + 32];
    size_t at = (size_t)sprintf(text, "{'messages':[");
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(text + at, "%s", one);
    sprintf(text + at - 1, "]}");
    return text;
}

TEST(at_most_so_many)
{
    struct request_ctx *ctx = test_ctx();
    const struct json_input *most = parse(ctx, many(SESSION_MESSAGES_MAX));
    CU_ASSERT_EQUAL(read_messages(most), ERR_NONE);
    CU_ASSERT_EQUAL(read_draft(most), ERR_NONE);
    const struct fault fault = {"messages", many(SESSION_MESSAGES_MAX + 1)};
    expect_faults(&fault, 1, read_messages);
    expect_faults(&fault, 1, read_draft);
}
