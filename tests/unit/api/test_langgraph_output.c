/* SPDX-License-Identifier: MIT */
/* Threads and messages as they are written for LangGraph's SDK. */
#include "../../../src/api/langgraph/langgraph.h"

#include <stdio.h>
#include <string.h>

#include "faults.h"

/* A writer into the arena. */
static struct json_writer *begin(struct request_ctx *ctx)
{
    struct json_writer *j = arena_zalloc(ctx->arena, sizeof(*j));
    struct buf *b = arena_zalloc(ctx->arena, sizeof(*b));
    buf_init(b, ctx->arena, 0);
    *j = (struct json_writer){.b = b};
    return j;
}

static struct session with(struct session_message *m, size_t n)
{
    return (struct session){.session_id = SV("t:1"),
                            .generation = 1,
                            .version = 2,
                            .context = SV("{\"topic\":\"x\",\"messages\":\"not these\",\"n\":1.0}"),
                            .metadata = SV("{\"a\": 1}"),
                            .messages = m,
                            .n_messages = n,
                            .message_count = (int64_t)n};
}

/* Fails if the context's own member of that name is shown, or messages that were not read: tried.
 */
TEST(a_thread)
{
    const struct session s = with(NULL, 0);
    struct request_ctx *ctx = test_ctx();
    struct json_writer *j = begin(ctx);
    langgraph_write_thread(ctx, j, &s, LANGGRAPH_ALL | LANGGRAPH_MESSAGES);
    expect_json(
        buf_get(j->b),
        "{'thread_id':'t:1','created_at':'1970-01-01T00:00:00.000000Z','updated_at':'1970-01-01T00:"
        "00:00.000000Z','state_updated_at':'1970-01-01T00:00:00.000000Z','metadata':{'a': "
        "1},'status':'idle','config':{},'values':{'topic':'x','n':1.0,'messages':[]},'interrupts':{"
        "},'error':null}");
    j = begin(ctx);
    langgraph_write_thread(ctx, j, &s, LANGGRAPH_ID | LANGGRAPH_VALUES);
    expect_json(buf_get(j->b), "{'thread_id':'t:1','values':{'topic':'x','n':1.0}}");
    j = begin(ctx);
    langgraph_write_thread(ctx, j, &s, 0);
    expect_json(buf_get(j->b), "{}");
}

/* Fails if members of extra come twice, or if an item of another type loses a member: tried. */
TEST(messages)
{
    static struct session_message m[] = {
        {.role = SV_INIT("user"), .content = SV_INIT("\"hi\"")},
        {.role = SV_INIT("assistant"),
         .content = SV_INIT("[]"),
         .extra = SV_INIT("{\"tool_calls\":[ ],\"id\":\"x\",\"type\":4,\"content\":5}")},
        {.role = SV_INIT("critic"), .content = SV_INIT("\"\"")},
        {.type = SV_INIT("reasoning"), .extra = SV_INIT("{\"role\":1,\"content\":2}")},
        {.type = SV_INIT("note"),
         .role = SV_INIT("r"),
         .content = SV_INIT("{}"),
         .extra = SV_INIT("{\"role\":1,\"content\":2,\"c\":3}")},
    };
    for (size_t i = 0; i < ARRAY_LEN(m); i++) {
        m[i].message_id = SV("m-1");
        if (!m[i].type.p)
            m[i].type = SV("message");
    }
    struct session s = with(m, ARRAY_LEN(m));
    s.context = SV("{}");
    struct request_ctx *ctx = test_ctx();
    struct json_writer *j = begin(ctx);
    langgraph_write_thread(ctx, j, &s, LANGGRAPH_VALUES | LANGGRAPH_MESSAGES);
    expect_json(buf_get(j->b),
                "{'values':{'messages':[{'type':'human','id':'m-1','content':'hi'},{'type':'ai','"
                "id':'m-1','content':[],'tool_calls':[ "
                "]},{'type':'critic','id':'m-1','content':''},{'type':'reasoning','id':'m-1','"
                "role':1,'content':2},{'type':'note','id':'m-1','role':'r','content':{},'c':3}]}}");
}

TEST(a_state)
{
    struct session s = with(NULL, 0);
    s.mark = UINT64_C(2) << 6 | 63; /* of which the upper bits are the checkpoint's */
    struct request_ctx *ctx = test_ctx();
    struct json_writer *j = begin(ctx);
    langgraph_write_state(ctx, j, &s);
    expect_json(buf_get(j->b),
                "{'values':{'topic':'x','n':1.0,'messages':[]},'next':[],'checkpoint':{'thread_id':"
                "'t:1','checkpoint_ns':'','checkpoint_id':'00000000-0000-8000-8400-000000000002','"
                "checkpoint_map':null},'metadata':{'a': "
                "1},'created_at':'1970-01-01T00:00:00.000000Z','parent_checkpoint':null,'tasks':[],"
                "'interrupts':[]}");
    j = begin(ctx);
    const struct session_receipt r = {.session_id = SV("t:1"), .generation = 1, .mark = 3 << 6};
    langgraph_write_updated(j, &r);
    expect_json(
        buf_get(j->b),
        "{'checkpoint':{'thread_id':'t:1','checkpoint_ns':'','checkpoint_id':'00000000-0000-"
        "8000-8400-000000000003','checkpoint_map':null},'configurable':{'thread_id':'t:1','"
        "checkpoint_ns':'','checkpoint_id':'00000000-0000-8000-8400-000000000003'}}");
}

/* A message is written as it was read, so a client that sends all values back changes nothing. */
TEST(round_trip)
{
    static const char *const texts[] = {
        "{'type':'human','id':'m-1','content':'hi'}",
        "{'type':'ai','id':'m-1','content':'','tool_calls':[{}],'role':'x'}",
        "{'type':'tool','id':'m-1','content':[],'tool_call_id':'c'}",
        "{'type':'reasoning','id':'m-1','content':[1.0],'summary':[]}",
        "{'type':'web_search_call','id':'m-1','action':{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct request_ctx *ctx = test_ctx();
        struct langgraph_values v = {.n = 0};
        char text[512], want[600];
        snprintf(text, sizeof(text), "{'messages':[%s]}", texts[i]);
        CU_ASSERT_EQUAL(langgraph_add_values(parse(ctx, text), &v), ERR_NONE);
        const struct session_message *d = &v.messages[0];
        struct session_message m = {.seq = 1,
                                    .message_id = d->message_id,
                                    .type = d->type,
                                    .role = d->role,
                                    .content = d->content,
                                    .metadata = d->metadata,
                                    .extra = d->extra};
        struct session s = with(&m, 1);
        s.context = SV("{}");
        struct json_writer *j = begin(ctx);
        langgraph_write_thread(ctx, j, &s, LANGGRAPH_VALUES | LANGGRAPH_MESSAGES);
        snprintf(want, sizeof(want), "{'values':%s}", text);
        expect_json(buf_get(j->b), want);
    }
}
