/* SPDX-License-Identifier: MIT */
/* Reads bodies of LangGraph's SDK into the structs of the session module. */
#include "langgraph.h"

#include <stdio.h>
#include <stdlib.h>

/* Minutes, as a number or as {"ttl": number, "strategy": "delete"}, into whole seconds, rounded up;
 * 0: none given. */
static enum err read_ttl(const struct json_input *body, const struct json_node *node,
                         int64_t *seconds)
{
    struct ttl {
        const struct json_node *minutes;
        struct sv strategy;
    } ttl = {node, SV("delete")};
    static const struct json_field fields[] = {
        {"ttl", JSON_ANY, JSON_REQUIRED, offsetof(struct ttl, minutes), 0, 0},
        {"strategy", JSON_STRING, JSON_NULLABLE, offsetof(struct ttl, strategy), 0, 0}};
    const struct json_input in = {body->ctx, body->doc, node, "ttl"};
    *seconds = 0;
    if (!node || node->type == JSON_IS_NULL)
        return ERR_NONE;
    if (node->type == JSON_IS_OBJECT)
        TRY(json_read(&in, fields, JSON_REFUSED_IF_NEAR, &ttl));
    if (!sv_eq(ttl.strategy, SV("delete")))
        return api_bad_field(&in, "strategy", "must be delete, the only strategy of parley.");
    if (ttl.minutes->type != JSON_IS_NUMBER)
        return api_bad_field(body, "ttl", "must be a number of minutes.");
    /* strtod ends at the comma or bracket that follows. */
    const double asked = strtod(ttl.minutes->raw.p, NULL) * 60;
    if (asked <= 0 || asked > (double)API_TTL_MAX)
        return api_bad_field(body, "ttl", "must be above 0 and at most 100 years of minutes.");
    *seconds = (int64_t)asked;
    *seconds += (double)*seconds < asked;
    return ERR_NONE;
}

static enum err read_update(const struct json_input *update, struct langgraph_values *into)
{
    struct superstep {
        const struct json_node *values, *command;
    } b = {NULL, NULL};
    static const struct json_field fields[] = {
        {"values", JSON_ANY, 0, offsetof(struct superstep, values), 0, 0},
        {"command", JSON_ANY, 0, offsetof(struct superstep, command), 0, 0}};
    char path[128];
    TRY(json_read(update, fields, JSON_REFUSED_IF_NEAR, &b));
    if (!b.values && json_doc_member(update->doc, update->node, SV("messages")))
        return api_fail_field(update, "unknown_field", "messages", "belongs into `values`.");
    if (b.command && b.command->type != JSON_IS_NULL)
        return api_bad_field(update, "command", "is for graphs, and parley runs none.");
    snprintf(path, sizeof(path), "%s.values", update->path);
    return langgraph_add_values(&(struct json_input){update->ctx, update->doc, b.values, path},
                                into);
}

/* The initial values of a thread: the sum of all updates. */
static enum err read_supersteps(const struct json_input *body, const struct json_node *steps,
                                struct langgraph_values *into)
{
    static const struct json_field fields[] = {{"updates", JSON_ARRAY, JSON_REQUIRED, 0, 0, 0}};
    char path[64];
    struct json_input in = {body->ctx, body->doc, NULL, path};
    const struct json_node *step = json_doc_first(body->doc, steps);
    for (size_t i = 0; step; i++, step = json_doc_next(body->doc, step)) {
        const struct json_node *updates = NULL;
        if (deadline_passed(body->ctx->deadline))
            return ctx_fault(body->ctx, ERR_TIMEOUT, "no time is left for the supersteps");
        snprintf(path, sizeof(path), "supersteps[%zu]", i);
        in.node = step;
        TRY(json_read(&in, fields, JSON_IGNORED, &updates));
        in.node = json_doc_first(body->doc, updates);
        for (size_t k = 0; in.node; k++, in.node = json_doc_next(body->doc, in.node)) {
            snprintf(path, sizeof(path), "supersteps[%zu].updates[%zu]", i, k);
            TRY(read_update(&in, into));
        }
    }
    return ERR_NONE;
}

struct thread_body {
    struct session_draft draft;
    struct sv if_exists;
    const struct json_node *ttl, *supersteps;
};

static const struct json_field thread_fields[] = {
    {"metadata", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_CHECK_STORED,
     offsetof(struct thread_body, draft.metadata), 0, 0},
    {"ttl", JSON_ANY, 0, offsetof(struct thread_body, ttl), 0, 0},
    /* Only of a new thread: */
    {"thread_id", JSON_STRING, JSON_NULLABLE, offsetof(struct thread_body, draft.session_id), 0, 0},
    {"if_exists", JSON_STRING, JSON_NULLABLE, offsetof(struct thread_body, if_exists), 0, 0},
    {"supersteps", JSON_ARRAY, JSON_NULLABLE, offsetof(struct thread_body, supersteps), 0, 0}};
enum { PATCH_FIELDS = 2 };

enum err langgraph_read_draft(const struct json_input *body, struct session_draft *out,
                              bool *get_or_create)
{
    static const char *const if_exists[] = {"raise", "do_nothing"};
    struct thread_body b = {.draft = {.language = SV("en"), .metadata = SV("{}"), .sliding = true},
                            .if_exists = SV("raise")};
    struct langgraph_values values = {.fresh = true};
    size_t do_nothing;
    TRY(json_read(body, thread_fields, JSON_REFUSED_IF_NEAR, &b));
    TRY(read_ttl(body, b.ttl, &b.draft.ttl_seconds));
    TRY(api_session_id(body->ctx, "thread_id", &b.draft.session_id));
    TRY(api_choice(body->ctx, "invalid_field", "if_exists", &NAMES(if_exists), b.if_exists,
                   &do_nothing));
    if (b.supersteps)
        TRY(read_supersteps(body, b.supersteps, &values));
    *out = b.draft;
    TRY(langgraph_values_context(body->ctx, &values, &out->context));
    if (!out->context.p)
        out->context = SV("{}");
    out->messages = values.messages;
    out->n_messages = values.n;
    *get_or_create = do_nothing && out->session_id.p;
    return ERR_NONE;
}

enum err langgraph_read_patch(const struct json_input *body, struct session_patch *out)
{
    struct thread_body b = {.ttl = NULL};
    *out = (struct session_patch){.metadata_how = SESSION_PATCH_OVERLAY};
    TRY(json_read_fields(body, thread_fields, PATCH_FIELDS, JSON_REFUSED_IF_NEAR, &b));
    TRY(read_ttl(body, b.ttl, &out->ttl_seconds));
    out->has_ttl = out->ttl_seconds > 0;
    out->metadata = b.draft.metadata;
    return ERR_NONE;
}

/* A checkpoint with a namespace is a subgraph's: no thread has it, so "none" stands for it. */
static enum err read_checkpoint_id(const struct json_input *body,
                                   const struct json_node *checkpoint, struct sv *id)
{
    struct named {
        struct sv id, ns;
    } c = {*id, SV_NONE};
    static const struct json_field fields[] = {
        {"checkpoint_id", JSON_STRING, JSON_NULLABLE, offsetof(struct named, id), 0, 0},
        {"checkpoint_ns", JSON_STRING, JSON_NULLABLE, offsetof(struct named, ns), 0, 0}};
    const struct json_input in = {body->ctx, body->doc, checkpoint, "checkpoint"};
    TRY(json_read(&in, fields, JSON_IGNORED, &c));
    *id = c.ns.n > 0 ? SV("none") : c.id;
    return ERR_NONE;
}

enum err langgraph_read_checkpoint(const struct json_input *body, struct sv *id)
{
    static const struct json_field fields[] = {{"checkpoint", JSON_OBJECT, JSON_REQUIRED, 0, 0, 0}};
    const struct json_node *checkpoint = NULL;
    *id = SV_NONE;
    TRY(json_read(body, fields, JSON_IGNORED, &checkpoint));
    return read_checkpoint_id(body, checkpoint, id);
}

enum err langgraph_read_update(const struct json_input *body, struct langgraph_values *values,
                               struct sv *checkpoint)
{
    struct state {
        const struct json_node *values, *checkpoint;
        struct sv id;
    } b = {.id = SV_NONE};
    static const struct json_field fields[] = {
        {"values", JSON_ANY, 0, offsetof(struct state, values), 0, 0},
        {"checkpoint", JSON_OBJECT, JSON_NULLABLE, offsetof(struct state, checkpoint), 0, 0},
        {"checkpoint_id", JSON_STRING, JSON_NULLABLE, offsetof(struct state, id), 0, 0}};
    TRY(json_read(body, fields, JSON_REFUSED_IF_NEAR, &b));
    if (!b.values && json_doc_member(body->doc, body->node, SV("messages")))
        return api_fail_field(body, "unknown_field", "messages", "belongs into `values`.");
    if (b.checkpoint)
        TRY(read_checkpoint_id(body, b.checkpoint, &b.id));
    *checkpoint = b.id;
    return langgraph_add_values(&(struct json_input){body->ctx, body->doc, b.values, "values"},
                                values);
}
