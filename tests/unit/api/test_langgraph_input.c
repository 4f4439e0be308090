/* SPDX-License-Identifier: MIT */
/* Bodies of LangGraph's SDK: messages, updates, threads; each fault names its field. */
#include "../../../src/api/langgraph/langgraph.h"

#include <stdio.h>
#include <string.h>

#include "faults.h"

static enum err add_values(const struct json_input *body, struct langgraph_values *v)
{
    return langgraph_add_values(&(struct json_input){body->ctx, body->doc, body->node, "values"},
                                v);
}

static enum err read_values(const struct json_input *body, struct langgraph_values *v)
{
    memset(v, 0, sizeof(*v));
    return add_values(body, v);
}

/* The values of a list of messages. */
static struct langgraph_values values_of(struct request_ctx *ctx, const char *list)
{
    struct langgraph_values v;
    const struct sv text = arena_printf(ctx->arena, "{'messages':[%s]}", list);
    CU_ASSERT_EQUAL(read_values(parse(ctx, text.p), &v), ERR_NONE);
    return v;
}

static void expect_context(struct request_ctx *ctx, struct langgraph_values *v, const char *want)
{
    struct sv context;
    CU_ASSERT_EQUAL(langgraph_values_context(ctx, v, &context), ERR_NONE);
    expect_json(context, want);
}

/* ---- one message ---- */

/* Fails if role or id stay among the other members, if a type that is not known becomes a message,
 * or if the class of an object is taken for its type: tried. */
TEST(forms_of_a_message)
{
    static const struct {
        const char *text, *id, *type, *role, *content, *extra;
    } t[] = {
        {"{'type':'human','content':'hi','id':'m-1'}", "m-1", "message", "user", "'hi'", NULL},
        {"{'type':'ai','content':[{'type':'text','text':'x'}],'id':null,'name':null}", NULL,
         "message", "assistant", "[{'type':'text','text':'x'}]", "{'name':null}"},
        {"{'content':'42','tool_call_id': 'c1' ,'type':'tool'}", NULL, "message", "tool", "'42'",
         "{'tool_call_id':'c1'}"},
        {"{'type':'system','content':'s','role':'kept'}", NULL, "message", "system", "'s'",
         "{'role':'kept'}"},
        {"{'type':'AIMessageChunk','content':''}", NULL, "message", "assistant", "''", NULL},
        {"{'type':'chat','role':'narrator','content':'c'}", NULL, "message", "chat", "'c'",
         "{'role':'narrator'}"},
        /* OpenAI's: */
        {"{'role':'user','content':'hi'}", NULL, "message", "user", "'hi'", NULL},
        {"{'role':'assistant','content':null,'tool_calls':[1.50]}", NULL, "message", "assistant",
         "''", "{'tool_calls':[1.50]}"},
        {"{'role':'ai','content':'x'}", NULL, "message", "assistant", "'x'", NULL},
        {"{'role':'critic','content':'x'}", NULL, "message", "critic", "'x'", NULL},
        {"{'type':'message','role':'user','content':'x','status':'done'}", NULL, "message", "user",
         "'x'", "{'status':'done'}"},
        /* Items of other types are kept whole: */
        {"{'type':'function_call','id':'fc-1','name':'f','arguments':'{}'}", "fc-1",
         "function_call", NULL, NULL, "{'name':'f','arguments':'{}'}"},
        {"{'type':'reasoning','content':[],'summary':[]}", NULL, "reasoning", NULL, NULL,
         "{'content':[],'summary':[]}"},
        {"{'type':'note','role':'user','content':'x'}", NULL, "note", NULL, NULL,
         "{'role':'user','content':'x'}"},
        /* JSON.stringify(new HumanMessage(…)): */
        {"{'lc':1,'type':'constructor','id':['langchain_core','messages','HumanMessage'],'kwargs':{"
         "'content':'hi','id':'h-1','additional_kwargs':{},'response_metadata':{}}}",
         "h-1", "message", "user", "'hi'", "{'additional_kwargs':{},'response_metadata':{}}"},
        {"{'lc':1,'type':'constructor','id':['langchain_core','messages','AIMessageChunk'],'kwargs'"
         ":{'content':'x'}}",
         NULL, "message", "assistant", "'x'", NULL},
        {"{'lc':1,'type':'constructor','id':['langchain_core','messages','ChatMessage'],'kwargs':{'"
         "content':'x','role':'r'}}",
         NULL, "message", "chat", "'x'", "{'role':'r'}"},
        /* msg_ and the digits of a UUID name the same message as that UUID: */
        {"{'type':'human','content':'','id':'msg_0193f3a07f5c7c2d8a1b0123456789ab'}",
         "0193f3a0-7f5c-7c2d-8a1b-0123456789ab", "message", "user", "''", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        struct langgraph_values v = values_of(ctx, t[i].text);
        CU_ASSERT_EQUAL_FATAL(v.n, 1);
        const struct session_message *m = &v.messages[0];
        CU_ASSERT_EQUAL(v.edits[0], SESSION_PUT);
        expect_json(m->message_id, t[i].id);
        expect_json(m->type, t[i].type);
        expect_json(m->role, t[i].role);
        expect_json(m->content, t[i].content);
        expect_json(m->metadata, "{}");
        expect_json(m->extra, t[i].extra);
        expect_context(ctx, &v, NULL);
    }
}

static enum err read_only_values(const struct json_input *body)
{
    struct langgraph_values v;
    return read_values(body, &v);
}

TEST(faults_of_values)
{
    static const struct fault t[] = {
        {"values", "[]|4"},
        {"values.messages", "{'messages':4}"},
        {"values.messages[0]", "{'messages':[[]]}"},
        {"values.messages[1]", "{'messages':[{'type':'ai','content':''},null]}"},
        {"values.messages[0].type", "{'messages':[{}]}|{'messages':[{'type':4}]}|"
                                    "{'messages':[{'type':''}]}|"
                                    "{'messages':[{'type':'a b'}]}"},
        {"values.messages[0].role", "{'messages':[{'type':'message','content':'x'}]}|"
                                    "{'messages':[{'role':'a b','content':''}]}|"
                                    "{'messages':[{'role':[],'content':''}]}"},
        {"values.messages[0].content", "{'messages':[{'type':'human'}]}|"
                                       "{'messages':[{'type':'human','content':4}]}|"
                                       "{'messages':[{'lc':1,'kwargs':{},'id':['HumanMessage']}]}"},
        {"values.messages.content", "{'messages':{'type':'human','content':{}}}"},
        {"values.messages[0].id", "{'messages':[{'type':'human','content':'','id':'a/../b'}]}|"
                                  "{'messages':[{'type':'human','content':'','id':'..'}]}|"
                                  "{'messages':[{'type':'human','content':'','id':''}]}|"
                                  "{'messages':[{'type':'human','content':'','id':17}]}|"
                                  "{'messages':[{'type':'remove'}]}|"
                                  "{'messages':[{'lc':1,'kwargs':{}}]}|"
                                  "{'messages':[{'lc':1,'kwargs':{},'id':[]}]}|"
                                  "{'messages':[{'lc':1,'kwargs':{},'id':[4]}]}"},
        {"values.messages[0].kwargs", "{'messages':[{'lc':1,'kwargs':[],'id':['x']}]}"},
        {"values.messages[0].kwargs.id",
         "{'messages':[{'lc':1,'kwargs':{'id':4},'id':['HumanMessage']}]}"}};
    expect_faults(t, ARRAY_LEN(t), read_only_values);
}

/* ---- several, with the rules of add_messages ---- */

#define H(id, content) "{'type':'human','id':'" id "','content':'" content "'}"
#define R(id)          "{'type':'remove','id':'" id "'}"

/* Fails if the later of two does not replace the earlier, if a message that was added and removed
 * must exist, or if a message before __remove_all__ stays: tried. */
TEST(one_after_the_other)
{
    static const struct {
        const char *list, *want; /* for each: edit, id, index in the list */
        bool clear;
    } t[] = {
        {H("a", "1") "," H("b", "1") "," H("a", "2"), "put a@2 put b@1 ", false},
        {H("a", "1") "," R("a"), "if-there a@1 ", false},
        {R("a") "," H("a", "1"), "put a@1 ", false},
        {H("a", "1") "," R("a") "," H("b", "1") "," H("a", "2"), "put a@3 put b@2 ", false},
        {R("a") "," R("b") "," R("a"), "remove a@2 remove b@1 ", false},
        {H("a", "1") "," R("__remove_all__") "," H("b", "1"), "put b@2 ", true},
        {R("__remove_all__"), "", true},
        {"{'role':'user','content':''},{'role':'user','content':''}", "put @0 put @1 ", false}};
    static const char *const names[] = {"put", "remove", "if-there"};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct langgraph_values v = values_of(test_ctx(), t[i].list);
        char got[256] = "";
        for (size_t k = 0, n = 0; k < v.n; k++)
            n += (size_t)snprintf(got + n, sizeof(got) - n, "%s %.*s@%zu ", names[v.edits[k]],
                                  SV_ARG(v.messages[k].message_id), v.indexes[k]);
        CU_ASSERT_STRING_EQUAL(got, t[i].want);
        CU_ASSERT_EQUAL(v.clear, t[i].clear);
    }
}

/* Only a message of the same list can be removed. */
TEST(nothing_before)
{
    static const struct {
        const char *text, *field;
        bool fresh;
    } bad[] = {
        {"{'messages':[" H("a", "1") "," R("b") "]}", "values.messages[1].id", true},
        {"{'messages':[" R("__remove_all__") "," R("b") "]}", "values.messages[1].id", false},
        {"{'messages':[" H("b", "1") "," R("b") "," R("b") "]}", "values.messages[2].id", true}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct request_ctx *ctx = test_ctx();
        const struct json_input *body = parse(ctx, bad[i].text);
        struct langgraph_values v = {.fresh = bad[i].fresh};
        CU_ASSERT_EQUAL(add_values(body, &v), ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, bad[i].field);
    }
}

TEST(other_values)
{
    struct request_ctx *ctx = test_ctx();
    struct langgraph_values v;
    const char *text = "{'a': 1.0, 'messages':null, 'b':{'x':null}}";
    CU_ASSERT_EQUAL(read_values(parse(ctx, text), &v), ERR_NONE);
    expect_context(ctx, &v, "{'a':1.0,'b':{'x':null}}");
    CU_ASSERT_EQUAL(v.n, 0);
    /* A later update overlays it. */
    const struct json_input *more = parse(ctx, "{'b':null,'c':2}");
    CU_ASSERT_EQUAL(add_values(more, &v), ERR_NONE);
    expect_context(ctx, &v, "{'a':1.0,'b':null,'c':2}");
    ctx = test_ctx();
    CU_ASSERT_EQUAL(read_values(parse(ctx, "null"), &v), ERR_NONE);
    expect_context(ctx, &v, NULL);
    CU_ASSERT_EQUAL(v.n, 0);
}

/* What n + 1 supersteps take of the arena, the first with a value of 8 n bytes. */
static size_t room_of_steps(int n, const char *first, const char *each, const char *end_of_context)
{
    struct buf text;
    struct request_ctx *ctx = test_ctx();
    struct session_draft d = {.context = SV("")};
    bool get_or_create;
    buf_init(&text, ctx->arena, 0);
    buf_printf(&text, "{'supersteps':[{'updates':[{'values':{'a':'%0*d'%s}}]}", 8 * n, 0, first);
    for (int i = 0; i < n; i++)
        buf_printf(&text, ",{'updates':[{'values':%s}]}", each);
    buf_put(&text, "]}", 3);
    const struct json_input *body = parse(ctx, text.p);
    const size_t before = arena_used(ctx->arena), want = strlen(end_of_context);
    CU_ASSERT_EQUAL(langgraph_read_draft(body, &d, &get_or_create), ERR_NONE);
    CU_ASSERT_TRUE_FATAL(d.context.n > want);
    expect_json((struct sv){d.context.p + d.context.n - want, want}, end_of_context);
    return arena_used(ctx->arena) - before;
}

/* Eight times as many steps take eight times as much. Fails if each update is laid over those
 * before it at once, or if room for messages is made anew by each: tried. */
TEST(supersteps_are_linear)
{
    static const struct {
        const char *first, *each, *end_of_context;
    } t[] = {
        {"", "{'b':1}", "','b':1}"},
        {",'messages':[" H("a", "1") "," H("b", "1") "]", "{'messages':[]}", "'}"},
        {",'messages':[" H("a", "1") "," H("b", "1") "]", "{'messages':" H("b", "2") "}", "'}"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        const size_t few = room_of_steps(500, t[i].first, t[i].each, t[i].end_of_context);
        const size_t many = room_of_steps(4000, t[i].first, t[i].each, t[i].end_of_context);
        CU_ASSERT_TRUE(many < 10 * few);
        CU_ASSERT_TRUE(many < 4000 * 250);
    }
}

/* ---- threads ---- */

/* Whether an existing thread is the answer, too. */
static bool draft_of(const char *text, struct session_draft *d)
{
    struct request_ctx *ctx = test_ctx();
    bool get_or_create = true;
    CU_ASSERT_EQUAL(langgraph_read_draft(parse(ctx, text), d, &get_or_create), ERR_NONE);
    return get_or_create;
}

TEST(drafts)
{
    struct session_draft d;
    CU_ASSERT_FALSE(draft_of("{}", &d));
    CU_ASSERT_TRUE(!d.session_id.p && d.sliding && d.ttl_seconds == 0 && d.n_messages == 0);
    expect_json(d.context, "{}");
    expect_json(d.metadata, "{}");

    CU_ASSERT_TRUE(draft_of(
        "{'thread_id':'conv_0193f3a07f5c7c2d8a1b0123456789ab','new':[1],'metadata':{'graph_id':'g'}"
        ",'if_exists':'do_nothing','ttl':{'ttl':0.51,'strategy':'delete','more':1},'supersteps':[{'"
        "updates':[{'values':{'messages':[" H(
            "a", "1") "],'t':1},'command':null},{'as_node':'n'}]},{'updates':[{'values':{'messages'"
                      ":" H("b", "1") ",'t':2}},{'values':{'messages':[" H("a", "2") "]}}]}]}",
        &d));
    expect_json(d.session_id, "0193f3a0-7f5c-7c2d-8a1b-0123456789ab");
    expect_json(d.metadata, "{'graph_id':'g'}");
    expect_json(d.context, "{'t':2}");
    CU_ASSERT_EQUAL(d.ttl_seconds, 31);
    CU_ASSERT_EQUAL_FATAL(d.n_messages, 2);
    expect_json(d.messages[0].content, "'2'");
    expect_json(d.messages[1].message_id, "b");

    CU_ASSERT_FALSE(draft_of(
        "{'thread_id':null,'metadata':null,'if_exists':'do_nothing','ttl':null,'supersteps':null}",
        &d)); /* without an id there is nothing that it could get */
}

static enum err read_draft(const struct json_input *body)
{
    struct session_draft d;
    bool get_or_create;
    return langgraph_read_draft(body, &d, &get_or_create);
}

TEST(faults_of_drafts)
{
    static const struct fault t[] = {
        {"thread_id", "{'thread_id':4}|{'thread_id':''}|{'thread_id':'a/./b'}"},
        {"metadata", "{'metadata':[]}"},
        {"metadata.a", "{'metadata':{'a':1e21}}"},
        {"if_exists", "{'if_exists':'maybe'}"},
        {"ttl", "{'ttl':'5'}|{'ttl':0}|{'ttl':-1}|{'ttl':1e300}|{'ttl':{'ttl':null}}"},
        {"ttl.ttl", "{'ttl':{}}"},
        {"ttl.strategy", "{'ttl':{'ttl':5,'strategy':'keep_latest'}}"},
        {"supersteps", "{'supersteps':{}}"},
        {"supersteps[0]", "{'supersteps':[4]}"},
        {"supersteps[0].updates", "{'supersteps':[{}]}"},
        {"supersteps[0].updates[0]", "{'supersteps':[{'updates':[4]}]}"},
        {"supersteps[1].updates[0].command",
         "{'supersteps':[{'updates':[]},{'updates':[{'command':{'goto':'n'}}]}]}"},
        {"supersteps[0].updates[0].values", "{'supersteps':[{'updates':[{'values':[]}]}]}"},
        {"supersteps[0].updates[0].values.messages[0].content",
         "{'supersteps':[{'updates':[{'values':{'messages':[{'type':'ai'}]}}]}]}"},
        {"supersteps[0].updates[0].values.messages.id",
         "{'supersteps':[{'updates':[{'values':{'messages':" R("a") "}}]}]}"}};
    expect_faults(t, ARRAY_LEN(t), read_draft);
}

TEST(details_help)
{
    expect_detail(
        "{'if_exists':'do-nothing'}",
        "if_exists has no such value. Did you mean `do_nothing`? Allowed: raise, do_nothing.",
        read_draft);
}

TEST(patches)
{
    struct request_ctx *ctx = test_ctx();
    struct session_patch p;
    CU_ASSERT_EQUAL(
        langgraph_read_patch(parse(ctx, "{'metadata':{'a':null},'ttl':2,'thread_id':[]}"), &p),
        ERR_NONE);
    CU_ASSERT_TRUE(p.has_ttl && p.ttl_seconds == 120 && !p.has_user_id && !p.context.p);
    CU_ASSERT_EQUAL(p.metadata_how, SESSION_PATCH_OVERLAY);
    expect_json(p.metadata, "{'a':null}");
    CU_ASSERT_EQUAL(langgraph_read_patch(parse(ctx, "{'metadata':null,'ttl':null}"), &p), ERR_NONE);
    CU_ASSERT_TRUE(!p.has_ttl && !p.metadata.p);
}

TEST(checkpoints)
{
    static const struct {
        const char *text, *want;
    } t[] = {{"{}", NULL},
             {"{'checkpoint_id':null,'checkpoint':null}", NULL},
             {"{'checkpoint_id':'x'}", "x"},
             {"{'checkpoint':{'checkpoint_id':'x','checkpoint_ns':''}}", "x"},
             {"{'checkpoint':{'thread_id':'t'},'checkpoint_id':'y'}", "y"},
             {"{'checkpoint':{'checkpoint_id':'x','checkpoint_ns':'sub:1'}}", "none"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        const struct json_input *body = parse(ctx, t[i].text);
        struct langgraph_values v = {.n = 0};
        struct sv id;
        CU_ASSERT_EQUAL(langgraph_read_update(body, &v, &id), ERR_NONE);
        expect_json(id, t[i].want);
        if (strstr(t[i].text, "'checkpoint':{")) {
            CU_ASSERT_EQUAL(langgraph_read_checkpoint(body, &id), ERR_NONE);
            expect_json(id, strcmp(t[i].want, "y") == 0 ? NULL : t[i].want);
        } else {
            CU_ASSERT_EQUAL(langgraph_read_checkpoint(body, &id), ERR_INVALID);
        }
    }
}
