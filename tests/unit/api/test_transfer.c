/* SPDX-License-Identifier: MIT */
#include "../../../src/api/transfer/transfer_internal.h"

#include <stdio.h>
#include <string.h>

#include "faults.h"

/* Writes the text with double quotes in place of single ones. */
static struct sv text_of(struct request_ctx *ctx, const char *quoted)
{
    const size_t n = strlen(quoted);
    char *text = arena_alloc(ctx->arena, n);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(quoted[i] == '\'' ? '"' : quoted[i]);
    return (struct sv){text, n};
}

static enum err read_text(enum transfer_format format, const char *quoted, struct transfer *out)
{
    struct request_ctx *ctx = test_ctx();
    return transfer_read(ctx, format, text_of(ctx, quoted), out);
}

static struct transfer transfer_of(enum transfer_format format, const char *quoted)
{
    struct transfer t;
    CU_ASSERT_EQUAL_FATAL(read_text(format, quoted, &t), ERR_NONE);
    return t;
}

#define TREE(nodes) "{'conversation_id':'c','current_node':'b','mapping':{" nodes "}}"
#define NODE(id, parent, message) \
    "'" id "':{'id':'" id "','parent':" parent ",'message':" message "}"
#define SAID(role, content) "{'id':'m-" role "','author':{'role':'" role "'},'content':" content "}"

static const struct {
    enum transfer_format format;
    const char *text, *field;
} refused[] = {
    {TRANSFER_PARLEY, "[]", ""},
    {TRANSFER_PARLEY, "{'session_id':'a'}", "message"},
    {TRANSFER_PARLEY, "{'message':{'role':'user','content':'x'}}", "session_id"},
    {TRANSFER_PARLEY, "{'session_id':'a','message':{'content':'x'}}", "message.role"},
    {TRANSFER_PARLEY, "{'session_id':'a','message':{'role':'user','content':'x','rol':1}}",
     "message.rol"},
    {TRANSFER_PARLEY, "{'session_id':'a','message':{'role':'user','content':'x','seq':0}}",
     "message.seq"},
    {TRANSFER_PARLEY, "{'session_id':'a','mesage':{}}", "mesage"},
    {TRANSFER_PARLEY, "{'session':{}}", "session.session_id"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a/..'}}", "session_id"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','messages':[]}}", "session.messages"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','created_at':'yesterday'}}",
     "session.created_at"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','created_at':-1}}", "session.created_at"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','updated_at':1e300}}", "session.updated_at"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','expiry':'never'}}", "expiry"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','context':[]}}", "session.context"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','summary':{'last_seq':'9'}}}",
     "summary.last_seq"},
    {TRANSFER_PARLEY,
     "{'session':{'session_id':'a','summary':{'last_seq':9,'content':5,'stale':true,"
     "'created_at':'2026-11-23T21:50:00Z'}}}",
     "summary.content"},
    {TRANSFER_PARLEY,
     "{'session':{'session_id':'a','summary':{'last_seq':9,'content':'x','stale':1,"
     "'created_at':'2026-11-23T21:50:00Z'}}}",
     "summary.stale"},
    {TRANSFER_PARLEY,
     "{'session':{'session_id':'a','summary':{'last_seq':9,'content':'x','stale':true,"
     "'created_at':'infinity'}}}",
     "summary.created_at"},
    {TRANSFER_PARLEY, "{'session':{'session_id':'a','forked_from':{'x':'y'}}}", "forked_from.x"},
    {TRANSFER_PARLEY, "{'tenant':'a b','session':{'session_id':'a'}}", "tenant"},
    {TRANSFER_PARLEY, "{'user_state':{'state':{}}}", "user_state.user_id"},
    {TRANSFER_CHAT, "{'id':'a'}", "messages"},
    {TRANSFER_CHAT, "{'messages':[{'role':'user'}]}", "messages[0].content"},
    {TRANSFER_CHAT, "{'messages':[{'role':'user','content':'x'},{'content':'x'}]}",
     "messages[1].role"},
    {TRANSFER_LANGCHAIN, "{'session_id':'a','message':{'content':'x'}}", "message.type"},
    {TRANSFER_CHATGPT, "{'mapping':{},'current_node':'a'}", "conversation_id"},
    {TRANSFER_CHATGPT, "{'conversation_id':'c','mapping':{}}", "current_node"},
    {TRANSFER_CHATGPT, TREE(NODE("a", "null", "null")), "mapping"},
    {TRANSFER_CHATGPT, TREE(NODE("b", "'a'", "null") "," NODE("a", "'b'", "null")), "mapping"},
    {TRANSFER_CHATGPT, TREE(NODE("b", "null", "{'author':{'role':'user'}}")), "mapping"},
};

TEST(transfer_refuses)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct request_ctx *ctx = test_ctx();
        struct transfer t;
        CU_ASSERT_EQUAL(transfer_read(ctx, refused[i].format, text_of(ctx, refused[i].text), &t),
                        ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, refused[i].field);
        if (strcmp(ctx->err.field, refused[i].field) != 0)
            fprintf(stderr, "%s: %s\n", refused[i].text, ctx->err.field);
    }
}

TEST(transfer_lines_of_parley)
{
    struct transfer t = transfer_of(
        TRANSFER_PARLEY,
        "{'tenant':'t','position':'1.2','session':{'session_id':'a','version':7,"
        "'created_at':'2026-11-23T21:50:00Z','context':{'a': 1e400},'is_expired':false}}");
    CU_ASSERT_EQUAL(t.kind, TRANSFER_BEGINS);
    CU_ASSERT_EQUAL(t.session.created_at, INT64_C(1795470600000000));
    expect_json(t.tenant, "t");
    expect_json(t.session.context, "{'a': 1e400}");
    t = transfer_of(TRANSFER_PARLEY,
                    "{'session_id':'a','message':{'role':'tool','tool_call_id':'c',"
                    "'content':'\\ud83d\\ude00','seq':5,'extra':{'k':[]},"
                    "'created_at':1795470600.5}}");
    CU_ASSERT_EQUAL(t.kind, TRANSFER_MESSAGES);
    CU_ASSERT_EQUAL(t.n_messages, 1);
    CU_ASSERT_EQUAL(t.messages->seq, 5);
    CU_ASSERT_EQUAL(t.messages->created_at, INT64_C(1795470600500000));
    expect_json(t.messages->content, "'\\ud83d\\ude00'");
    expect_json(t.messages->extra, "{'tool_call_id':'c','k':[]}");
    t = transfer_of(TRANSFER_PARLEY,
                    "{'user_state':{'user_id':'u','state':{'n':1.0},'ttl_seconds':9}}");
    CU_ASSERT_TRUE(t.kind == TRANSFER_STATE && t.session.ttl_seconds == 9);
    expect_json(t.session.context, "{'n':1.0}");
    t = transfer_of(TRANSFER_PARLEY, "{'complete':true,'sessions':1,'messages':2}");
    CU_ASSERT_TRUE(t.kind == TRANSFER_END && t.end_sessions == 1 && t.end_messages == 2);
}

/* Fails if a line that a person may write counts, too: tried for each row. */
TEST(transfer_exported_lines)
{
    static const struct {
        const char *line;
        bool is_exported;
    } rows[] = {
        {"{'tenant':'t','position':'1.2','session':{'session_id':'a'}}", true},
        {"{'tenant':'t','user_state':{'user_id':'u','state':{},'version':3}}", true},
        {"{'tenant':'t','session':{'session_id':'a','version':3}}", false},
        {"{'position':'1.2','session':{'session_id':'a'}}", false},
        {"{'tenant':'t','user_state':{'user_id':'u','state':{}}}", false},
        {"{'user_state':{'user_id':'u','state':{},'version':3}}", false},
        {"{'session_id':'a','message':{'role':'user','content':'x'}}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CU_ASSERT_EQUAL(transfer_of(TRANSFER_PARLEY, rows[i].line).is_exported,
                        rows[i].is_exported);
}

/* Times without an offset are UTC, and unknown members of a message go into extra. */
TEST(transfer_lines_with_a_session)
{
    static const char *const times[] = {"2026-11-23T21:50:00", "2026-11-23 21:50:00",
                                        "2026-11-23T22:50:00.000000+01:00"};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "{'id':'a','created_at':'%s','messages':[{'role':'user','content':'x','weight':0,"
                 "'extra':{'k':1}}]}",
                 times[i]);
        const struct transfer t = transfer_of(TRANSFER_CHAT, text);
        CU_ASSERT_EQUAL(t.session.created_at, INT64_C(1795470600000000));
        expect_json(t.session.session_id, "a");
        expect_json(t.messages->extra, "{'weight':0,'k':1}");
    }
    /* Without an id in the text, the same text always gets the same id. */
    const char *plain = "{'messages':[]}";
    const struct sv first = transfer_of(TRANSFER_CHAT, plain).session.session_id;
    char id[64];
    snprintf(id, sizeof(id), "%.*s", SV_ARG(first));
    CU_ASSERT_TRUE(sv_starts_with(first, SV("import-")));
    CU_ASSERT_TRUE(sv_eq(transfer_of(TRANSFER_CHAT, plain).session.session_id, sv_from(id)));
    CU_ASSERT_FALSE(
        sv_eq(transfer_of(TRANSFER_CHAT, "{'messages':[] }").session.session_id, sv_from(id)));
}

/* Only the branch that is shown is read, from its root, whatever the order of the nodes. Fails if
 * all nodes are read: tried. */
TEST(transfer_chatgpt_branch)
{
    static const struct {
        const char *content, *read; /* NULL: the message is left out */
    } rows[] = {
        {"{'content_type':'text','parts':['one']}", "'one'"},
        {"{'content_type':'text','parts':['','one']}", "'one'"},
        {"{'content_type':'text','parts':['']}", NULL},
        {"{'content_type':'text','parts':['a','b']}",
         "[{'type':'text','text':'a'},{'type':'text','text':'b'}]"},
        {"{'content_type':'multimodal_text','parts':[{'asset':1},'b']}",
         "[{'asset':1},{'type':'text','text':'b'}]"},
        {"{'content_type':'code','language':'c','text':'x;'}", "'x;'"},
        {"{'content_type':'thoughts','thoughts':[]}",
         "[{'content_type':'thoughts','thoughts':[]}]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        snprintf(
            text, sizeof(text),
            "{'conversation_id':'c','title':'T','create_time':1795470600,'current_node':'b',"
            "'mapping':{" NODE("b", "'m'", SAID("assistant", "%s")) "," NODE(
                "old", "'m'",
                SAID("assistant",
                     "{'parts':['no']}")) "," NODE("m", "'r'",
                                                   SAID("user", "{'content_type':'text','parts':['"
                                                                "q']}")) "," NODE("r", "null",
                                                                                  "null") "}}",
            rows[i].content);
        const struct transfer t = transfer_of(TRANSFER_CHATGPT, text);
        expect_json(t.session.session_id, "chatgpt:c");
        expect_json(t.session.metadata, "{'title':'T'}");
        CU_ASSERT_EQUAL(t.n_messages, rows[i].read ? 2 : 1);
        expect_json(t.messages[0].content, "'q'");
        if (rows[i].read && t.n_messages == 2)
            expect_json(t.messages[1].content, rows[i].read);
    }
}

TEST(transfer_position)
{
    static const struct {
        const char *line;
        bool is_read;
    } rows[] = {
        {"{'tenant':'t','position':'12.34','session':{}}", true},
        {"{'tenant':'t','user_state':{}}", false},
        {"{'session_id':'a','message':{}}", false},
        {"{'tenant':'t','position':'12','session':{}}", false},
        {"{'tenant", false},
        {"{'tenant':'t','position':'12.34", false},
        {"{'tenant':'t','position':'12.34'}", false},
        {"{'tenant':'t','position':'x.1','session':{}}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request_ctx *ctx = test_ctx();
        struct session_position at = {0, 0};
        struct sv tenant;
        CU_ASSERT_EQUAL(transfer_read_position(text_of(ctx, rows[i].line), &tenant, &at),
                        rows[i].is_read);
        CU_ASSERT_TRUE(!rows[i].is_read || (at.created_at == 12 && at.generation == 34));
    }
}
