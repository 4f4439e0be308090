/* SPDX-License-Identifier: MIT */
/* openai_input.c, openai_output.c and the form of an error in openai_routes.c. */
#include "../../../src/api/openai/openai.h"

#include <stdio.h>
#include <string.h>

#include "../http/rig.h"
#include "faults.h"

enum { MAX = 3 };

/* An item that was read is written again as OpenAI's clients expect it. Fails if status is added to
 * an item that has one, or members of a message are repeated from extra: tried. */
TEST(round_trip)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{'role':'user','content':'a\\u00e4'}",
         "{'id':'m1','type':'message','role':'user','status':'completed','content':[{'type':'input_"
         "text','text':'a\\u00e4'}]}"},
        {"{'type':null,'id':null,'role':'assistant','content':'b','status':'x'}",
         "{'id':'m1','type':'message','role':'assistant','content':[{'type':'output_text','text':'"
         "b','annotations':[]}],'status':'x'}"},
        {"{'type':'function_call','arguments':'{}','n':1.0}",
         "{'id':'m1','type':'function_call','status':'completed','arguments':'{}','n':1.0}"},
        {"{'type':'reasoning','content':null,'role':5,'metadata':{}}",
         "{'id':'m1','type':'reasoning','content':null,'role':5,'metadata':{}}"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct session_message *draft;
        struct http_rig *r = http_rig("GET", "/");
        struct json_writer j;
        struct session_message m;
        char list[512];
        size_t n;
        snprintf(list, sizeof(list), "[%s]", cases[i].in);
        const struct json_input *body = parse(r->ctx, list);
        CU_ASSERT_EQUAL(openai_read_items(body, body->node, MAX, &draft, &n), ERR_NONE);
        const struct session_receipt receipt = {.generation = 1, .first_seq = 1};
        CU_ASSERT_EQUAL(session_messages_of(r->ctx, draft, 1, 0, &receipt, &m), ERR_NONE);
        m.message_id = SV("m1");
        j = (struct json_writer){.b = &r->res.body};
        openai_write_item(&j, &m);
        expect_json(buf_get(&r->res.body), cases[i].out);
    }
}

/* Fails if the id is read again after it was brought into that form: tried. */
TEST(ids_in_canonical_form)
{
    static const char *const texts[] = {"{'type':'x',", "{'role':'user','content':'',"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct session_message *draft;
        struct http_rig *r = http_rig("GET", "/");
        char list[128];
        size_t n;
        snprintf(list, sizeof(list), "[%s'id':'msg_0193f3a07f5c7c2d8a1b0123456789ab'}]", texts[i]);
        const struct json_input *body = parse(r->ctx, list);
        CU_ASSERT_EQUAL(openai_read_items(body, body->node, MAX, &draft, &n), ERR_NONE);
        expect_json(draft->message_id, "0193f3a0-7f5c-7c2d-8a1b-0123456789ab");
    }
}

/* A native client may write any members into extra. */
TEST(extra_of_native_messages)
{
    const struct session_message m = {
        .seq = 1,
        .message_id = SV("0193f3a0-7f5c-7c2d-8a1b-0123456789ab"),
        .type = SV("message"),
        .role = SV("user"),
        .content = SV("[]"),
        .metadata = SV("{\"k\": 1}"),
        .extra = SV("{\"id\":1,\"\\u0074ype\":2,\"content\":3,\"role\":4,\"x\":5}")};
    struct http_rig *r = http_rig("GET", "/");
    struct json_writer j = {.b = &r->res.body};
    openai_write_item(&j, &m);
    expect_json(buf_get(&r->res.body),
                "{'id':'msg_0193f3a07f5c7c2d8a1b0123456789ab','type':'message','role':'user','"
                "status':'completed','content':[],'x':5,'metadata':{'k': 1}}");
}

static enum err read_refused(const struct json_input *body)
{
    const struct session_message *drafts;
    size_t n;
    return openai_read_items(body, body->node, MAX, &drafts, &n);
}

TEST(faults_of_items)
{
    static const struct fault faults[] = {
        {"items[0]", "[1]"},
        {"items[1].content", "[{'role':'u','content':''},{'role':'u'}]"},
        {"items[0].role", "[{'content':''}]"},
        {"items[0].type", "[{'type':'item_reference','id':'a'}]"},
        {"items[0].id", "[{'type':'x','id':''}]"},
        {"items", "[{},{},{},{}]"}};
    expect_faults(faults, ARRAY_LEN(faults), read_refused);
}

/* x-should-retry, where OpenAI's clients would decide wrongly. Fails if the key is ignored: tried.
 */
TEST(x_should_retry)
{
    static const struct {
        enum err err;
        bool keyed;
        int status;
        const char *repeat;
    } cases[] = {{ERR_CONFLICT, false, 400, ""},       {ERR_BUSY, false, 409, ""},
                 {ERR_UNAVAILABLE, false, 503, ""},    {ERR_OUTCOME_UNKNOWN, false, 503, "false"},
                 {ERR_OUTCOME_UNKNOWN, true, 503, ""}, {ERR_INTERNAL, true, 500, "false"},
                 {ERR_NOMEM, false, 500, "false"},     {ERR_KEY_REUSED, true, 422, ""},
                 {ERR_PRECONDITION, false, 412, ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r = http_rig("POST", "/v1/conversations");
        if (cases[i].keyed)
            http_rig_send(r, "idempotency-key", SV("k"));
        CU_ASSERT_EQUAL(ctx_fail(r->ctx, cases[i].err, NULL, "session_id", "text"), cases[i].err);
        openai_interface.table.problem(r->ctx, &r->req, &r->res);
        CU_ASSERT_EQUAL(r->res.status, cases[i].status);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "x-should-retry"), cases[i].repeat);
        CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "\"param\":\"conversation_id\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "{\"error\":{\"message\":\"text\","));
    }
}
