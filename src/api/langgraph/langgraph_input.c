/* SPDX-License-Identifier: MIT */
/* Reads bodies of LangGraph's SDK into the structs of the session module. */
#include "langgraph.h"

#include <stdio.h>
#include <stdlib.h>

/* Minutes, as a number or as {"ttl": number, "strategy": "delete"}, into whole seconds, rounded up;
 * 0: none given. */
static enum err read_ttl(struct request_ctx *ctx, const struct json_doc *doc,
                         const struct json_node *node, int64_t *seconds)
{
    struct ttl {
        const struct json_node *minutes;
        struct sv strategy;
    } ttl = {node, SV("delete")};
    static const struct json_field fields[] = {
        {"ttl", JSON_ANY, JSON_REQUIRED, offsetof(struct ttl, minutes), 0, 0},
        {"strategy", JSON_STRING, JSON_NULLABLE, offsetof(struct ttl, strategy), 0, 0}};
    *seconds = 0;
    if (!node || node->type == JSON_IS_NULL)
        return ERR_NONE;
    TRY(node->type != JSON_IS_OBJECT
            ? ERR_NONE
            : json_read_members(ctx, doc, node, "ttl", fields, ARRAY_LEN(fields), &ttl, NULL));
    if (!sv_eq(ttl.strategy, SV("delete")))
        return api_bad_field(ctx, "ttl", "strategy",
                             "must be delete, the only strategy of parley.");
    if (ttl.minutes->type != JSON_IS_NUMBER)
        return api_bad_field(ctx, "", "ttl", "must be a number of minutes.");
    /* strtod ends at the comma or bracket that follows. */
    const double asked = strtod(ttl.minutes->raw.p, NULL) * 60;
    if (asked <= 0 || asked > (double)API_TTL_MAX)
        return api_bad_field(ctx, "", "ttl", "must be above 0 and at most 100 years of minutes.");
    *seconds = (int64_t)asked;
    *seconds += (double)*seconds < asked;
    return ERR_NONE;
}

static enum err read_update(struct request_ctx *ctx, const struct json_doc *doc,
                            const struct json_node *update, const char *path,
                            struct langgraph_values *into)
{
    struct superstep {
        const struct json_node *values, *command;
    } b = {NULL, NULL};
    static const struct json_field fields[] = {
        {"values", JSON_ANY, 0, offsetof(struct superstep, values), 0, 0},
        {"command", JSON_ANY, 0, offsetof(struct superstep, command), 0, 0}};
    char inner[128];
    TRY(json_read_members(ctx, doc, update, path, fields, ARRAY_LEN(fields), &b, NULL));
    if (b.command && b.command->type != JSON_IS_NULL)
        return api_bad_field(ctx, path, "command", "is for graphs, and parley runs none.");
    snprintf(inner, sizeof(inner), "%s.values", path);
    return langgraph_add_values(ctx, doc, b.values, inner, into);
}

/* The initial values of a thread: the sum of all updates. */
static enum err read_supersteps(struct request_ctx *ctx, const struct json_doc *doc,
                                const struct json_node *steps, struct langgraph_values *into)
{
    size_t i = 0;
    for (const struct json_node *step = json_doc_first(doc, steps); step;
         step = json_doc_next(doc, step)) {
        static const struct json_field fields[] = {{"updates", JSON_ARRAY, JSON_REQUIRED, 0, 0, 0}};
        const struct json_node *updates = NULL;
        char path[64];
        if (deadline_passed(ctx->deadline))
            return ctx_fault(ctx, ERR_TIMEOUT, "no time is left for the supersteps");
        snprintf(path, sizeof(path), "supersteps[%zu]", i);
        TRY(json_read_members(ctx, doc, step, path, fields, 1, &updates, NULL));
        size_t k = 0;
        for (const struct json_node *u = json_doc_first(doc, updates); u;
             u = json_doc_next(doc, u)) {
            snprintf(path, sizeof(path), "supersteps[%zu].updates[%zu]", i, k++);
            TRY(read_update(ctx, doc, u, path, into));
        }
        i++;
    }
    return ERR_NONE;
}

struct thread_body {
    struct sv id, if_exists;
    const struct json_node *metadata, *ttl, *supersteps;
};

static const struct json_field thread_fields[] = {
    {"metadata", JSON_OBJECT, JSON_NULLABLE, offsetof(struct thread_body, metadata), 0, 0},
    {"ttl", JSON_ANY, 0, offsetof(struct thread_body, ttl), 0, 0},
    /* Only of a new thread: */
    {"thread_id", JSON_STRING, JSON_NULLABLE, offsetof(struct thread_body, id), 0, 0},
    {"if_exists", JSON_STRING, JSON_NULLABLE, offsetof(struct thread_body, if_exists), 0, 0},
    {"supersteps", JSON_ARRAY, JSON_NULLABLE, offsetof(struct thread_body, supersteps), 0, 0}};
enum { PATCH_FIELDS = 2 };

static enum err read_thread(struct request_ctx *ctx, const struct json_doc *doc, size_t n_fields,
                            struct thread_body *b, int64_t *ttl_seconds)
{
    TRY(json_read_members(ctx, doc, doc->nodes, "", thread_fields, n_fields, b, NULL));
    TRY(api_check_metadata(ctx, doc, b->metadata, ""));
    return read_ttl(ctx, doc, b->ttl, ttl_seconds);
}

enum err langgraph_read_draft(struct request_ctx *ctx, const struct json_doc *doc,
                              struct session_draft *out, bool *get_or_create)
{
    struct thread_body b = {.if_exists = SV("raise")};
    static const char *const if_exists[] = {"raise", "do_nothing"};
    struct langgraph_values values = {.fresh = true};
    struct sv context = SV_NONE;
    int64_t ttl_seconds;
    size_t do_nothing;
    TRY(read_thread(ctx, doc, ARRAY_LEN(thread_fields), &b, &ttl_seconds));
    if (b.id.p)
        TRY(api_session_id(ctx, "thread_id", &b.id));
    TRY(api_choice(ctx, "invalid_field", "if_exists", &NAMES(if_exists), b.if_exists, &do_nothing));
    if (b.supersteps)
        TRY(read_supersteps(ctx, doc, b.supersteps, &values));
    TRY(langgraph_values_context(ctx, &values, &context));
    *get_or_create = do_nothing && b.id.p;
    *out = (struct session_draft){.session_id = b.id,
                                  .language = SV("en"),
                                  .context = context.p ? context : SV("{}"),
                                  .metadata = b.metadata ? b.metadata->raw : SV("{}"),
                                  .ttl_seconds = ttl_seconds,
                                  .sliding = true,
                                  .messages = values.messages,
                                  .n_messages = values.n};
    return ERR_NONE;
}

enum err langgraph_read_patch(struct request_ctx *ctx, const struct json_doc *doc,
                              struct session_patch *out)
{
    struct thread_body b = {.metadata = NULL};
    int64_t ttl_seconds = 0;
    TRY(read_thread(ctx, doc, PATCH_FIELDS, &b, &ttl_seconds));
    *out = (struct session_patch){.has_ttl = ttl_seconds > 0,
                                  .ttl_seconds = ttl_seconds,
                                  .metadata = b.metadata ? b.metadata->raw : SV_NONE,
                                  .metadata_how = SESSION_PATCH_OVERLAY};
    return ERR_NONE;
}

/* A checkpoint with a namespace is a subgraph's: no thread has it, so "none" stands for it. */
static enum err read_checkpoint_id(struct request_ctx *ctx, const struct json_doc *doc,
                                   const struct json_node *checkpoint, struct sv *id)
{
    struct named {
        struct sv id, ns;
    } c = {*id, SV_NONE};
    static const struct json_field fields[] = {
        {"checkpoint_id", JSON_STRING, JSON_NULLABLE, offsetof(struct named, id), 0, 0},
        {"checkpoint_ns", JSON_STRING, JSON_NULLABLE, offsetof(struct named, ns), 0, 0}};
    TRY(json_read_members(ctx, doc, checkpoint, "checkpoint", fields, ARRAY_LEN(fields), &c, NULL));
    *id = c.ns.n > 0 ? SV("none") : c.id;
    return ERR_NONE;
}

enum err langgraph_read_checkpoint(struct request_ctx *ctx, const struct json_doc *doc,
                                   struct sv *id)
{
    static const struct json_field fields[] = {{"checkpoint", JSON_OBJECT, JSON_REQUIRED, 0, 0, 0}};
    const struct json_node *checkpoint = NULL;
    *id = SV_NONE;
    TRY(json_read_members(ctx, doc, doc->nodes, "", fields, 1, &checkpoint, NULL));
    return read_checkpoint_id(ctx, doc, checkpoint, id);
}

enum err langgraph_read_update(struct request_ctx *ctx, const struct json_doc *doc,
                               struct langgraph_values *values, struct sv *checkpoint)
{
    struct state {
        const struct json_node *values, *checkpoint;
        struct sv id;
    } b = {.id = SV_NONE};
    static const struct json_field fields[] = {
        {"values", JSON_ANY, 0, offsetof(struct state, values), 0, 0},
        {"checkpoint", JSON_OBJECT, JSON_NULLABLE, offsetof(struct state, checkpoint), 0, 0},
        {"checkpoint_id", JSON_STRING, JSON_NULLABLE, offsetof(struct state, id), 0, 0}};
    TRY(json_read_members(ctx, doc, doc->nodes, "", fields, ARRAY_LEN(fields), &b, NULL));
    if (b.checkpoint)
        TRY(read_checkpoint_id(ctx, doc, b.checkpoint, &b.id));
    *checkpoint = b.id;
    return langgraph_add_values(ctx, doc, b.values, "values", values);
}
