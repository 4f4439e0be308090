/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/conversations/{id}/items and of single items. */
#include "openai.h"

#include "parley/base/uuid.h"

enum { PAGE_DEFAULT = 20, PAGE_MAX = 1000 };

/* The answer is made of drafts and receipt alone, so that a replay gives the same one. */
enum err openai_items_create(struct api_call *c)
{
    struct openai_body body;
    struct session_append append = {.create = false};
    TRY(openai_read_body(&c->body, &body));
    if (!body.items || body.items->children == 0)
        return api_fail_field(&c->body, "missing_field", "items", "must hold at least one.");
    TRY(openai_read_items(&c->body, body.items, c->api->items_max, &append.messages,
                          &append.n_messages));
    TRY(session_append(c->sessions, c->ctx, &c->target, &append));
    struct session_message *made = arena_array(c->ctx->arena, append.n_messages, sizeof(*made));
    if (!made)
        return ctx_nomem(c->ctx);
    TRY(session_messages_of(c->ctx, append.messages, append.n_messages, 0, &c->receipt, made));
    struct json_writer j = api_begin(c->res, 200);
    openai_write_list(&j, made, append.n_messages, false, 0);
    return ERR_NONE;
}

enum { LIST_LIMIT, LIST_ORDER };
const struct api_param openai_list_params[] = {
    [LIST_LIMIT] = {"limit", 1, PAGE_MAX, PAGE_DEFAULT, {NULL}},
    [LIST_ORDER] = {.name = "order", .choices = {"desc", "asc"}},
    {.name = "after"},
    {.name = "include", .max = API_LIST},
    {.name = "include[]", .max = API_LIST},
    {.name = NULL}};

/* The page after an item. An id that parley made holds the item's seq, also after the item is
 * deleted, but only within its session. An id that a client chose must be looked up. */
static enum err page_after(struct api_call *c, struct sv after, struct session_page_query *q,
                           struct session_page *out)
{
    const struct sv user = c->precondition.user;
    int64_t *bound = q->ascending ? &q->after : &q->before;
    uint64_t generation, seq;
    if (uuid_v8_unpack(after, &generation, &seq)) {
        *bound = (int64_t)seq;
        enum err e = session_page(c->sessions, c->ctx, c->id, user, q, out);
        if (e != ERR_NONE || out->stamp.generation == (int64_t)generation)
            return e;
    }
    struct session_message item;
    enum err e = session_message_get(c->sessions, c->ctx, c->id, user,
                                     (struct session_message_name){after, 0}, &item);
    if (e == ERR_NONE) {
        *bound = item.seq;
        return session_page(c->sessions, c->ctx, c->id, user, q, out);
    }
    if (e != ERR_NOT_FOUND)
        return e;
    /* If the conversation is missing too, that is the answer. */
    ctx_clear_error(c->ctx);
    TRY(session_get(c->sessions, c->ctx, c->id, user, 0, &c->session));
    return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", "after",
                    "after is not the id of an item of this conversation. If it was deleted, start "
                    "again without after.");
}

enum err openai_items_list(struct api_call *c)
{
    struct session_page_query q = {.limit = (size_t)c->params[LIST_LIMIT],
                                   .ascending = c->params[LIST_ORDER]};
    struct session_page page;
    struct sv after = http_param_get(c->req, "after");
    if (after.p && !id_valid(after))
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", "after",
                        "after must be the id of an item.");
    if (after.p)
        TRY(session_id_canonical(c->ctx, MESSAGE_PREFIX, &after));
    TRY(after.p ? page_after(c, after, &q, &page)
                : session_page(c->sessions, c->ctx, c->id, c->precondition.user, &q, &page));
    struct json_writer j = api_begin(c->res, 200);
    openai_write_list(&j, page.messages, page.n, page.has_more, page.stamp.generation);
    if (page.degraded)
        api_mark_degraded(c->res);
    return ERR_NONE;
}

enum err openai_item_get(struct api_call *c)
{
    struct session_message item;
    TRY(session_message_get(c->sessions, c->ctx, c->id, c->precondition.user, c->message, &item));
    struct json_writer j = api_begin(c->res, 200);
    openai_write_item(&j, &item);
    return ERR_NONE;
}

/* Answers with the conversation, as OpenAI does. */
enum err openai_item_delete(struct api_call *c)
{
    TRY(session_message_delete(c->sessions, c->ctx, &c->target, c->message, &c->session));
    return openai_answer_conversation(c);
}
