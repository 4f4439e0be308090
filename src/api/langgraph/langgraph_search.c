/* SPDX-License-Identifier: MIT */
/* Handlers of /threads/search and /threads/count. Neither reads a message. */
#include "langgraph.h"

#include <stdio.h>

#include "parley/session/users.h"

enum { LIMIT_DEFAULT = 10, LIMIT_MAX = 1000, IDS_MAX = 1000 };

struct search_body {
    const struct json_node *metadata, *values, *ids, *select, *extract;
    struct sv status, sort_by, sort_order;
    int64_t limit, offset;
};

static const struct json_field search_fields[] = {
    {"metadata", JSON_OBJECT, JSON_NULLABLE, offsetof(struct search_body, metadata), 0, 0},
    {"values", JSON_OBJECT, JSON_NULLABLE, offsetof(struct search_body, values), 0, 0},
    {"ids", JSON_ARRAY, JSON_NULLABLE, offsetof(struct search_body, ids), 0, IDS_MAX},
    {"status", JSON_STRING, JSON_NULLABLE, offsetof(struct search_body, status), 0, 0},
    /* Only of a search: */
    {"limit", JSON_I64, JSON_NULLABLE, offsetof(struct search_body, limit), 1, LIMIT_MAX},
    {"offset", JSON_I64, JSON_NULLABLE, offsetof(struct search_body, offset), 0, INT64_MAX},
    {"sort_by", JSON_STRING, JSON_NULLABLE, offsetof(struct search_body, sort_by), 0, 0},
    {"sort_order", JSON_STRING, JSON_NULLABLE, offsetof(struct search_body, sort_order), 0, 0},
    {"select", JSON_ARRAY, JSON_NULLABLE, offsetof(struct search_body, select), 0, 64},
    /* The SDK sends it; it is ignored, since parley extracts nothing. */
    {"extract", JSON_ANY, JSON_NULLABLE, offsetof(struct search_body, extract), 0, 0}};
enum { COUNT_FIELDS = 4 };

static enum err read_ids(struct request_ctx *ctx, const struct json_doc *doc,
                         const struct json_node *list, struct session_query *q)
{
    struct sv *ids = arena_array(ctx->arena, list->children, sizeof(*ids));
    size_t i = 0;
    if (!ids)
        return ctx_nomem(ctx);
    for (const struct json_node *n = json_doc_first(doc, list); n; n = json_doc_next(doc, n), i++) {
        char path[32];
        snprintf(path, sizeof(path), "ids[%zu]", i);
        TRY(n->type == JSON_IS_STRING ? json_doc_string(ctx, n, &ids[i]) : ERR_NONE);
        if (n->type != JSON_IS_STRING || !session_id_valid(ids[i]))
            return api_bad_field(ctx, "", path, "must be the id of a thread.");
        TRY(session_id_canonical(ctx, &ids[i]));
    }
    q->ids = ids;
    q->n_ids = i;
    return ERR_NONE;
}

static enum err read_sort(struct request_ctx *ctx, const struct search_body *b,
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
    size_t by, ascending;
    TRY(api_choice(ctx, "invalid_field", "sort_by", &NAMES(sorts), b->sort_by, &by));
    TRY(api_choice(ctx, "invalid_field", "sort_order", &NAMES(orders), b->sort_order, &ascending));
    q->sort = sorts[by].sort;
    q->ascending = ascending;
    return ERR_NONE;
}

/* As bits of enum langgraph_field; without a selection, all. */
static enum err read_select(struct request_ctx *ctx, const struct json_doc *doc,
                            const struct json_node *list, unsigned *fields)
{
    static const struct {
        const char *name;
        unsigned field;
    } known[] = {{"thread_id", LANGGRAPH_ID},       {"created_at", LANGGRAPH_CREATED},
                 {"updated_at", LANGGRAPH_UPDATED}, {"state_updated_at", LANGGRAPH_STATE_UPDATED},
                 {"metadata", LANGGRAPH_METADATA},  {"status", LANGGRAPH_STATUS},
                 {"config", LANGGRAPH_CONFIG},      {"context", 0}, /* only runs have one */
                 {"values", LANGGRAPH_VALUES},      {"interrupts", LANGGRAPH_INTERRUPTS},
                 {"error", LANGGRAPH_ERROR}};
    size_t at = 0;
    *fields = list && list->children ? 0 : LANGGRAPH_ALL;
    for (const struct json_node *n = list ? json_doc_first(doc, list) : NULL; n;
         n = json_doc_next(doc, n)) {
        char path[32];
        size_t i;
        struct sv name = SV("");
        TRY(n->type == JSON_IS_STRING ? json_doc_string(ctx, n, &name) : ERR_NONE);
        snprintf(path, sizeof(path), "select[%zu]", at++);
        TRY(api_choice(ctx, "invalid_field", path, &NAMES(known), name, &i));
        *fields |= known[i].field;
    }
    return ERR_NONE;
}

/* *none: parley runs nothing, so no thread is ever in that status. */
static enum err read_status(struct request_ctx *ctx, struct sv status, bool *none)
{
    static const char *const known[] = {"idle", "busy", "interrupted", "error"};
    size_t i;
    TRY(api_choice(ctx, "invalid_field", "status", &NAMES(known), status, &i));
    *none = i > 0;
    return ERR_NONE;
}

static struct sv text_unless_empty(const struct json_node *object)
{
    return object && object->children ? object->raw : SV_NONE;
}

static enum err read_query(struct api_call *c, size_t n_fields, struct session_query *q,
                           unsigned *fields, bool *none)
{
    struct request_ctx *ctx = c->ctx;
    const struct json_doc *doc = &c->doc;
    struct search_body b = {.status = SV("idle"),
                            .sort_by = SV("created_at"),
                            .sort_order = SV("desc"),
                            .limit = LIMIT_DEFAULT};
    *q = (struct session_query){.user = c->precondition.user};
    /* An unknown filter is refused: ignored, it would find every thread. */
    TRY(json_read_object(ctx, doc, doc->nodes, "", search_fields, n_fields, &b, NULL));
    if (b.values && json_doc_member(doc, b.values, SV("messages")))
        return api_bad_field(ctx, "values", "messages", "cannot be searched.");
    if (b.ids)
        TRY(read_ids(ctx, doc, b.ids, q));
    TRY(read_status(ctx, b.status, none));
    TRY(read_sort(ctx, &b, q));
    TRY(read_select(ctx, doc, b.select, fields));
    q->metadata = text_unless_empty(b.metadata);
    q->context = text_unless_empty(b.values);
    q->limit = (size_t)b.limit;
    q->offset = b.offset;
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
    struct session_query q;
    struct session_list list = {.n = 0};
    unsigned fields = 0;
    bool none = false;
    TRY(read_query(c, ARRAY_LEN(search_fields), &q, &fields, &none));
    if (!none)
        TRY(search_result(c->ctx, session_search(c->sessions, c->ctx, &q, &list)));
    struct json_writer j = api_begin(c->res, 200);
    json_write_array_open(&j);
    for (size_t i = 0; i < list.n; i++)
        langgraph_write_thread(&j, &list.sessions[i], fields);
    json_write_array_close(&j);
    return ERR_NONE;
}

enum err langgraph_threads_count(struct api_call *c)
{
    struct session_query q;
    unsigned fields;
    bool none = false;
    int64_t n = 0;
    TRY(read_query(c, COUNT_FIELDS, &q, &fields, &none));
    if (!none)
        TRY(search_result(c->ctx, session_count(c->sessions, c->ctx, &q, &n)));
    struct json_writer j = api_begin(c->res, 200);
    json_write_i64(&j, n);
    return ERR_NONE;
}
