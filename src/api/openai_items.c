/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/conversations/{id}/items and of single items. */
#include "openai.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/base/uuid.h"
#include "parley/http/fingerprint.h"

enum { PAGE_DEFAULT = 20, PAGE_MAX = 100 };

/* What was appended, told by drafts and receipt alone, so that a replay says the same. */
static enum err write_created(struct request_ctx *ctx, struct http_response *res,
                              const struct session_append *append,
                              const struct session_receipt *receipt)
{
    const size_t n = append->n_messages;
    struct session_message *made = arena_array(ctx->arena, n, sizeof(*made));
    char *ids = arena_array(ctx->arena, n, UUID_LEN + 1);
    if (!made || !ids)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        made[i] = session_message_of(&append->messages[i], receipt->generation,
                                     receipt->first_seq + (int64_t)i, receipt->at,
                                     ids + i * (UUID_LEN + 1));
    struct jout j = api_begin(res, 200);
    openai_write_list(&j, made, n, false);
    return ERR_NONE;
}

/* OpenAI's clients say how often they have sent a request before, and have no key. Only appends are
 * guessed at: a conversation made twice is one that nobody uses, while one that is mistaken for
 * another's would mix two chats. */
static enum err guess_repetition(struct request_ctx *ctx, const struct http_request *req,
                                 struct session_guard *guard)
{
    uint64_t count = 0;
    struct sv given = http_header_get(req, "x-stainless-retry-count");
    if (given.p && (!sv_to_u64(given, &count) || count > INT32_MAX))
        count = 0;
    TRY(http_fingerprint(ctx, req, &guard->fingerprint));
    char hex[2 * HTTP_FINGERPRINT_LEN + 1];
    for (size_t i = 0; i < HTTP_FINGERPRINT_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)guard->fingerprint.p[i]);
    /* Clients' own keys hold no spaces. */
    guard->key =
        arena_printf(ctx->arena, "retry %s %" PRIu64 " %" PRIx64, hex, count, random_u64());
    if (!guard->key.p)
        return ctx_nomem(ctx);
    guard->alike = (struct sv){guard->key.p, sizeof("retry ") - 1 + sizeof(hex)};
    guard->repetition = (int64_t)count;
    return ERR_NONE;
}

enum err openai_items_create(struct request_ctx *ctx, const struct http_call *call,
                             struct http_response *res)
{
    const struct api_service *api = call->service;
    struct jdoc doc;
    struct openai_body body;
    struct session_append append = {.create = false};
    struct session_guard guard;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(openai_conversation_id(ctx, &id));
    TRY(openai_write_guard(ctx, call->req, &guard));
    if (api->retry_guard && !guard.key.p)
        TRY(guess_repetition(ctx, call->req, &guard));
    TRY(openai_read_body(ctx, call->req, API_BODY_REQUIRED, &doc, &body));
    if (!body.items || body.items->children == 0)
        return ctx_fail(ctx, ERR_INVALID, "missing_field", "items",
                        "items must hold at least one.");
    TRY(openai_read_items(ctx, &doc, body.items, api->items_max, &append.messages,
                          &append.n_messages));
    TRY(session_append(api->sessions, ctx, id, &append, &guard, &receipt));
    api_replayed(res, &receipt);
    return write_created(ctx, res, &append, &receipt);
}

struct list_query {
    struct session_page_query page;
    struct sv after; /* an item's id, or absent */
};

static enum err list_query(struct request_ctx *ctx, const struct http_request *req,
                           struct list_query *q)
{
    static const char *const params[] = {"after", "limit", "order", "include", "include[]", NULL};
    int64_t limit = 0;
    TRY(http_params_only(ctx, req, params));
    TRY(http_param_i64(ctx, req, "limit", 1, PAGE_MAX, PAGE_DEFAULT, &limit));
    *q = (struct list_query){.page = {.limit = (size_t)limit},
                             .after = http_param_get(req, "after")};
    TRY(api_param_choice(ctx, req, "order", "asc", "desc", &q->page.ascending));
    if (q->after.p && !session_message_id_valid(q->after))
        return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", "after",
                        "after must be the id of an item.");
    return q->after.p ? session_message_id_canonical(ctx, &q->after) : ERR_NONE;
}

static void begin_behind(struct session_page_query *page, int64_t seq)
{
    if (page->ascending)
        page->after = seq;
    else
        page->before = seq;
}

/* The page behind an item. A made id says where it stands, and goes on saying it when the item is
 * gone, but only in the session that it was made for; a client's own id must be looked up. */
static enum err page_behind(struct request_ctx *ctx, struct sessions *sessions, struct sv id,
                            struct sv user, struct list_query *q, struct session_page *out)
{
    uint64_t generation, seq;
    if (uuid_v8_unpack(q->after, &generation, &seq)) {
        begin_behind(&q->page, (int64_t)seq);
        enum err e = session_page(sessions, ctx, id, user, &q->page, out);
        if (e != ERR_NONE || out->generation == (int64_t)generation)
            return e;
    }
    struct session_message item;
    enum err e = session_message_get(sessions, ctx, id, user, q->after, &item);
    if (e == ERR_NONE) {
        begin_behind(&q->page, item.seq);
        return session_page(sessions, ctx, id, user, &q->page, out);
    }
    if (e != ERR_NOT_FOUND)
        return e;
    /* Of the conversation, if it is that which is not there. */
    struct session session;
    ctx_clear_error(ctx);
    TRY(session_get(sessions, ctx, id, user, 0, &session));
    return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", "after",
                    "after must be the id of an item of this conversation.");
}

enum err openai_items_list(struct request_ctx *ctx, const struct http_call *call,
                           struct http_response *res)
{
    struct sessions *sessions = api_sessions(call);
    struct list_query q;
    struct session_page page;
    struct sv user, id = call->captures[0];
    TRY(openai_conversation_id(ctx, &id));
    TRY(list_query(ctx, call->req, &q));
    TRY(api_user(ctx, call->req, &user));
    TRY(q.after.p ? page_behind(ctx, sessions, id, user, &q, &page)
                  : session_page(sessions, ctx, id, user, &q.page, &page));
    struct jout j = api_begin(res, 200);
    openai_write_list(&j, page.messages, page.n, page.has_more);
    if (page.degraded)
        api_mark_degraded(res);
    return ERR_NONE;
}

enum err openai_item_get(struct request_ctx *ctx, const struct http_call *call,
                         struct http_response *res)
{
    static const char *const params[] = {"include", "include[]", NULL};
    struct session_message item;
    struct sv user, id = call->captures[0], which = call->captures[1];
    TRY(openai_conversation_id(ctx, &id));
    TRY(openai_item_id(ctx, &which));
    TRY(http_params_only(ctx, call->req, params));
    TRY(api_user(ctx, call->req, &user));
    TRY(session_message_get(api_sessions(call), ctx, id, user, which, &item));
    struct jout j = api_begin(res, 200);
    openai_write_item(&j, &item);
    return ERR_NONE;
}

/* The deletion is done, so nothing may be said that makes the client send it again without a key.
 */
static enum err read_rest(struct request_ctx *ctx, const struct http_call *call,
                          const struct session_guard *guard, const struct session_receipt *receipt,
                          struct session *out)
{
    enum err e = session_get_again(api_sessions(call), ctx, receipt->session_id,
                                   receipt->generation, guard->user, 0, out);
    if (e == ERR_NONE || e == ERR_NOT_FOUND)
        return e;
    const struct err_info why = ctx->err;
    ctx_clear_error(ctx);
    (void)ctx_fail(ctx, ERR_OUTCOME_UNKNOWN, "answer_lost", NULL,
                   "The item is deleted, but its conversation could not be read just now.");
    memcpy(ctx->err.cause, why.cause, sizeof(why.cause));
    return ERR_OUTCOME_UNKNOWN;
}

/* Answers with the conversation that it was taken from. */
enum err openai_item_delete(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res)
{
    struct session_guard guard;
    struct session_receipt receipt;
    struct session session;
    struct sv id = call->captures[0], which = call->captures[1];
    TRY(openai_conversation_id(ctx, &id));
    TRY(openai_item_id(ctx, &which));
    TRY(openai_write_guard(ctx, call->req, &guard));
    TRY(session_message_delete(api_sessions(call), ctx, id, which, &guard, &receipt));
    TRY(read_rest(ctx, call, &guard, &receipt, &session));
    api_replayed(res, &receipt);
    return openai_answer_conversation(ctx, res, &session);
}
