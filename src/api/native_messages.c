/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/sessions/{id}/messages and of single messages. */
#include "native.h"

#include "parley/base/uuid.h"
#include "parley/http/conditional.h"
#include "parley/session/native_form.h"

static enum err append_params(struct request_ctx *ctx, const struct http_request *req,
                              struct session_append *append)
{
    static const char *const params[] = {"create", "return", NULL};
    int64_t n = 0;
    TRY(http_params_only(ctx, req, params));
    TRY(api_param_choice(ctx, req, "create", "true", "false", &append->create));
    TRY(http_param_i64(ctx, req, "return", 0, SESSION_MESSAGES_MAX, 0, &n));
    append->return_n = (size_t)n;
    return ERR_NONE;
}

static void write_id(struct jout *j, const struct session_receipt *r, int64_t seq, struct sv given)
{
    char made[UUID_LEN + 1];
    jout_sv(j, session_message_id(given, r->generation, seq, made));
}

/* What was appended, told by the receipt alone, so that a replay says the same. */
static void write_receipt(struct jout *j, const struct session_append *append, bool single,
                          const struct session_receipt *r)
{
    jout_object_open(j);
    jput_sv(j, "session_id", r->session_id);
    jput_i64(j, "version", r->version);
    jput_i64(j, "message_count", r->message_count);
    if (single) {
        jput_i64(j, "seq", r->first_seq);
        jout_key(j, "message_id");
        write_id(j, r, r->first_seq, append->messages[0].message_id);
    } else {
        jput_array(j, "message_ids");
        for (size_t i = 0; i < append->n_messages; i++)
            write_id(j, r, r->first_seq + (int64_t)i, append->messages[i].message_id);
        jout_array_close(j);
    }
    jput_i64(j, "first_seq", r->first_seq);
    jput_i64(j, "last_seq", r->last_seq);
    jput_time(j, "created_at", r->at);
    jput_time(j, "expires_at", r->expires_at);
    if (append->return_n > 0)
        native_write_messages(j, "messages", r->window, r->n_window);
    jout_object_close(j);
}

enum err native_messages_append(struct request_ctx *ctx, const struct http_call *call,
                                struct http_response *res)
{
    struct jdoc doc;
    struct session_append append = {.create = false};
    struct session_guard guard;
    struct session_receipt receipt;
    bool single = false;
    struct sv id = call->captures[0];
    TRY(api_session_id(ctx, &id));
    TRY(append_params(ctx, call->req, &append));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_REQUIRED, &doc));
    TRY(native_read_messages(ctx, &doc, &append, &single));
    TRY(session_append(api_sessions(call), ctx, id, &append, &guard, &receipt));
    TRY(native_location(ctx, res, receipt.session_id, receipt.first_seq));
    api_replayed(res, &receipt);
    struct jout j = api_begin(res, receipt.status);
    write_receipt(&j, &append, single, &receipt);
    return api_etag(
        ctx, res, http_etag_version(ctx->arena, receipt.generation, receipt.version, receipt.mark));
}

static enum err page_query(struct request_ctx *ctx, const struct http_request *req,
                           struct session_page_query *q)
{
    static const char *const params[] = {"limit", "order", "after", "before", "max_bytes", NULL};
    int64_t limit = 0;
    TRY(http_params_only(ctx, req, params));
    TRY(http_param_i64(ctx, req, "limit", 1, SESSION_MESSAGES_MAX, SESSION_WINDOW, &limit));
    TRY(http_param_i64(ctx, req, "after", 0, INT64_MAX, 0, &q->after));
    TRY(http_param_i64(ctx, req, "before", 1, INT64_MAX, 0, &q->before));
    TRY(http_param_i64(ctx, req, "max_bytes", 1, INT32_MAX, 0, &q->max_bytes));
    q->limit = (size_t)limit;
    return api_param_choice(ctx, req, "order", "asc", "desc", &q->ascending);
}

static void write_page(struct jout *j, const struct session_page *page)
{
    jout_object_open(j);
    native_write_messages(j, "data", page->messages, page->n);
    jput_bool(j, "has_more", page->has_more);
    jout_key(j, "first_seq");
    if (page->n > 0)
        jout_i64(j, page->messages[0].seq);
    else
        jout_null(j);
    jout_key(j, "last_seq");
    if (page->n > 0)
        jout_i64(j, page->messages[page->n - 1].seq);
    else
        jout_null(j);
    api_write_degraded(j, page->degraded);
    jout_object_close(j);
}

enum err native_messages_page(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res)
{
    struct session_page_query query = {.limit = 0};
    struct session_page page;
    struct http_condition unless;
    struct sv user;
    struct sv id = call->captures[0];
    TRY(api_session_id(ctx, &id));
    TRY(page_query(ctx, call->req, &query));
    TRY(api_user(ctx, call->req, &user));
    TRY(http_condition_parse(ctx, "If-None-Match", http_header_get(call->req, "if-none-match"),
                             false, &unless));
    TRY(session_page(api_sessions(call), ctx, id, user, &query, &page));
    struct sv tag = http_etag_version(ctx->arena, page.generation, page.version, page.mark);
    TRY(api_validator(ctx, res, page.degraded, tag));
    if (!page.degraded && unless.given && http_condition_has(&unless, tag)) {
        res->status = 304;
        return ERR_NONE;
    }
    struct jout j = api_begin(res, 200);
    write_page(&j, &page);
    return ERR_NONE;
}

static enum err message_name(struct request_ctx *ctx, struct sv *which)
{
    uint64_t seq;
    if (session_message_id_valid(*which) || (sv_to_u64(*which, &seq) && seq > 0))
        return session_message_id_canonical(ctx, which);
    return ctx_fail(ctx, ERR_INVALID, "invalid_id", "message_id",
                    "A message is named by its seq or its message_id.");
}

enum err native_message_get(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res)
{
    struct session_message message;
    struct sv user;
    struct sv id = call->captures[0], which = call->captures[1];
    TRY(api_session_id(ctx, &id));
    TRY(message_name(ctx, &which));
    TRY(api_no_params(ctx, call->req));
    TRY(api_user(ctx, call->req, &user));
    TRY(session_message_get(api_sessions(call), ctx, id, user, which, &message));
    struct jout j = api_begin(res, 200);
    session_write_message(&j, &message, NULL);
    return ERR_NONE;
}

enum err native_message_delete(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res)
{
    struct session_guard guard;
    struct session_receipt receipt;
    struct sv id = call->captures[0], which = call->captures[1];
    TRY(api_session_id(ctx, &id));
    TRY(message_name(ctx, &which));
    TRY(api_no_params(ctx, call->req));
    TRY(api_no_body(ctx, call->req));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(session_message_delete(api_sessions(call), ctx, id, which, &guard, &receipt));
    api_replayed(res, &receipt);
    res->status = 204;
    return ERR_NONE;
}
