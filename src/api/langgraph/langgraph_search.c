/* SPDX-License-Identifier: MIT */
/* Handlers of /threads/search and /threads/count. Neither reads a message. */
#include "langgraph.h"

#include <stdio.h>

#include "parley/json/members.h"
#include "parley/session/users.h"

enum { LIMIT_DEFAULT = 10, LIMIT_MAX = 1000, IDS_MAX = 1000 };

struct search_body {
    struct session_query query;
    const struct json_node *ids, *select, *extract;
    struct sv status, sort_by, sort_order;
    int64_t limit;
};

static const struct json_field search_fields[] = {
    /* An empty filter finds all. */
    {"metadata", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_NOT_EMPTY | JSON_CHECK_JSONB,
     offsetof(struct search_body, query.metadata), 0, 0},
    {"values", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_NOT_EMPTY | JSON_CHECK_JSONB,
     offsetof(struct search_body, query.context), 0, 0},
    {"ids", JSON_ARRAY, JSON_NULLABLE, offsetof(struct search_body, ids), 0, IDS_MAX},
    {"status", JSON_STRING, JSON_NULLABLE, offsetof(struct search_body, status), 0, 0},
    /* Only of a search: */
    {"limit", JSON_I64, JSON_NULLABLE, offsetof(struct search_body, limit), 1, LIMIT_MAX},
    {"offset", JSON_I64, JSON_NULLABLE, offsetof(struct search_body, query.offset), 0, INT64_MAX},
    {"sort_by", JSON_STRING, JSON_NULLABLE, offsetof(struct search_body, sort_by), 0, 0},
    {"sort_order", JSON_STRING, JSON_NULLABLE, offsetof(struct search_body, sort_order), 0, 0},
    {"select", JSON_ARRAY, JSON_NULLABLE, offsetof(struct search_body, select), 0, 64},
    /* The SDK sends it; it is ignored, since parley extracts nothing. */
    {"extract", JSON_ANY, 0, offsetof(struct search_body, extract), 0, 0}};
enum { COUNT_FIELDS = 4 };

static enum err read_ids(const struct json_input *body, const struct json_node *list,
                         struct session_query *q)
{
    struct request_ctx *ctx = body->ctx;
    struct sv *ids = arena_array(ctx->arena, list->children, sizeof(*ids));
    if (!ids)
        return ctx_nomem(ctx);
    const struct json_node *n = json_doc_first(body->doc, list);
    for (size_t i = 0; n; i++, n = json_doc_next(body->doc, n)) {
        char path[32];
        snprintf(path, sizeof(path), "ids[%zu]", i);
        if (n->type != JSON_IS_STRING)
            return api_bad_field(body, path, "must be the id of a thread.");
        TRY(json_doc_string(ctx, n, path, &ids[i]));
        TRY(api_session_id(ctx, path, &ids[i]));
    }
    q->ids = ids;
    q->n_ids = list->children;
    return ERR_NONE;
}

static enum err read_words(struct request_ctx *ctx, const struct search_body *b,
                           struct session_query *q)
{
    static const struct {
        const char *name;
        enum session_sort sort;
    } sorts[] = {{"created_at", SESSION_BY_CREATION},
                 {"status", SESSION_BY_CREATION}, /* all have the same */
                 {"updated_at", SESSION_BY_UPDATE},
                 {"state_updated_at", SESSION_BY_UPDATE},
                 {"thread_id", SESSION_BY_ID}};
    static const char *const orders[] = {"desc", "asc"};
    static const char *const statuses[] = {"idle", "busy", "interrupted", "error"};
    size_t status, by, ascending;
    TRY(api_choice(ctx, "invalid_field", "status", &NAMES(statuses), b->status, &status));
    TRY(api_choice(ctx, "invalid_field", "sort_by", &NAMES(sorts), b->sort_by, &by));
    TRY(api_choice(ctx, "invalid_field", "sort_order", &NAMES(orders), b->sort_order, &ascending));
    q->sort = sorts[by].sort;
    q->ascending = ascending;
    /* parley runs nothing, so no thread is ever in another status. */
    q->limit = status == 0 ? (size_t)b->limit : 0;
    return ERR_NONE;
}

/* As bits of enum langgraph_field; without a selection, all. */
static enum err read_select(const struct json_input *body, const struct json_node *list,
                            unsigned *fields)
{
    /* In the order of the bits. */
    static const char *const known[] = {
        "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config",
        "values",    "interrupts", "error",      "context"};
    *fields = list && list->children ? 0 : LANGGRAPH_ALL;
    const struct json_node *n = list ? json_doc_first(body->doc, list) : NULL;
    for (size_t i = 0; n; i++, n = json_doc_next(body->doc, n)) {
        char path[32];
        size_t field;
        struct sv name = SV("");
        snprintf(path, sizeof(path), "select[%zu]", i);
        TRY(n->type == JSON_IS_STRING ? json_doc_string(body->ctx, n, path, &name) : ERR_NONE);
        TRY(api_choice(body->ctx, "invalid_field", path, &NAMES(known), name, &field));
        *fields |= 1u << field;
    }
    return ERR_NONE;
}

/* q->limit 0: it finds nothing. */
static enum err read_query(struct api_call *c, size_t n_fields, struct session_query *q,
                           unsigned *fields)
{
    struct search_body b = {.query = {.user = c->precondition.user},
                            .status = SV("idle"),
                            .sort_by = SV("created_at"),
                            .sort_order = SV("desc"),
                            .limit = LIMIT_DEFAULT};
    /* An unknown filter is refused: ignored, it would find every thread. */
    TRY(json_read_fields(&c->body, search_fields, n_fields, JSON_REFUSED, &b));
    if (json_member_get(b.query.context, "messages").p)
        return api_bad_field(&c->body, "values.messages", "cannot be searched.");
    *q = b.query;
    if (b.ids)
        TRY(read_ids(&c->body, b.ids, q));
    TRY(read_words(c->ctx, &b, q));
    TRY(read_select(&c->body, b.select, fields));
    q->with_context = *fields & LANGGRAPH_VALUES;
    q->with_metadata = *fields & LANGGRAPH_METADATA;
    return ERR_NONE;
}

static enum err search_result(struct request_ctx *ctx, enum err e)
{
    return langgraph_too_slow(ctx, e, "search_too_slow",
                              "The search did not finish in time. Sort by created_at, or search by "
                              "ids or for one user.");
}

enum err langgraph_threads_search(struct api_call *c)
{
    struct session_query q = {.limit = 0};
    struct session_list list = {.n = 0};
    unsigned fields = 0;
    TRY(read_query(c, ARRAY_LEN(search_fields), &q, &fields));
    if (q.limit > 0)
        TRY(search_result(c->ctx, session_search(c->sessions, c->ctx, &q, &list)));
    struct json_writer j = api_begin(c->res, 200);
    json_write_array_open(&j);
    for (size_t i = 0; i < list.n; i++)
        langgraph_write_thread(c->ctx, &j, &list.sessions[i], fields);
    json_write_array_close(&j);
    return ERR_NONE;
}

enum err langgraph_threads_count(struct api_call *c)
{
    struct session_query q = {.limit = 0};
    unsigned fields;
    int64_t n = 0;
    TRY(read_query(c, COUNT_FIELDS, &q, &fields));
    if (q.limit > 0)
        TRY(search_result(c->ctx, session_count(c->sessions, c->ctx, &q, &n)));
    struct json_writer j = api_begin(c->res, 200);
    json_write_i64(&j, n);
    return ERR_NONE;
}
