/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/sessions/{id}/messages and of single messages. */
#include "native.h"

#include <inttypes.h>

#include "parley/json/members.h"
#include "parley/session/session_json.h"

static void write_message_id(struct json_writer *j, const struct session_receipt *r, int64_t seq,
                             struct sv given)
{
    char made[UUID_LEN + 1];
    json_write_sv(j, session_message_id(given, r->generation, seq, made));
}

/* What an append returns of the session besides its receipt. */
struct append_return {
    int64_t limit; /* of the newest messages; 0: none are asked for */
    struct session_page newest;
    bool has_window;
    struct session_window_query query;
    struct session_window window;
    bool failed; /* the read; the context's error says why */
};

static void write_returned_window(struct json_writer *j, const struct request_ctx *ctx,
                                  const struct append_return *r)
{
    json_write_key(j, "window");
    if (!r->failed) {
        native_write_window(j, &r->window, NULL);
        return;
    }
    const struct http_fault fault = http_fault_of(ctx);
    json_write_null(j);
    json_put_object(j, "window_problem");
    json_put_str(j, "code", fault.code);
    /* The detail of a failed request says that nothing was changed. The append is stored. */
    json_put_str(j, "detail",
                 ctx->err.detail[0] ? ctx->err.detail
                                    : "The messages are stored, but the window could not be read.");
    json_members_write(j, sv_from(ctx->err.members), NULL);
    json_write_object_close(j);
}

/* A replay gives the same answer. */
static void write_receipt(struct json_writer *j, const struct api_call *c,
                          const struct session_append *append, bool single,
                          const struct append_return *returned)
{
    const struct session_receipt *r = &c->receipt;
    json_write_object_open(j);
    json_put_sv(j, "session_id", r->session_id);
    json_put_i64(j, "version", r->version);
    json_put_i64(j, "message_count", r->message_count);
    if (single) {
        json_put_i64(j, "seq", r->first_seq);
        json_write_key(j, "message_id");
        write_message_id(j, r, r->first_seq, append->messages[0].message_id);
    } else {
        json_put_array(j, "message_ids");
        for (size_t i = 0; i < append->n_messages; i++)
            write_message_id(j, r, r->first_seq + (int64_t)i, append->messages[i].message_id);
        json_write_array_close(j);
    }
    json_put_i64(j, "first_seq", r->first_seq);
    json_put_i64(j, "last_seq", r->last_seq);
    json_put_time(j, "created_at", r->at);
    json_put_time(j, "expires_at", r->expires_at);
    if (returned->limit > 0) {
        (void)native_write_truncated(j, returned->newest.n, (size_t)returned->limit,
                                     r->message_count);
        json_put_array(j, "messages");
        for (size_t i = returned->newest.n; i-- > 0;)
            session_json_message(j, &returned->newest.messages[i], NULL);
        json_write_array_close(j);
    }
    if (returned->has_window)
        write_returned_window(j, c->ctx, returned);
    json_write_object_close(j);
}

enum { APPEND_CREATE = NATIVE_WINDOW_PARAMS, APPEND_RETURN };
const struct api_param native_append_params[] = {
    NATIVE_WINDOW,
    [APPEND_CREATE] = {.name = "create", .choices = {"false", "true"}},
    [APPEND_RETURN] = {.name = "return"},
    {.name = NULL}};

/* ?return=N or ?return=window, and the parameters of the window. */
static enum err read_return(struct api_call *c, struct append_return *out)
{
    out->has_window = sv_eq(http_param_get(c->req, "return"), SV("window"));
    if (out->has_window)
        return native_read_window(c, &out->query);
    for (size_t i = 0; i < NATIVE_WINDOW_PARAMS; i++)
        if (http_param_get(c->req, native_append_params[i].name).p)
            return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", native_append_params[i].name,
                            "%s is only for return=window.", native_append_params[i].name);
    return http_param_i64(c->ctx, c->req, "return", 0, SESSION_MESSAGES_MAX, 0, &out->limit);
}

/* What is returned was there after the append, so that a replay gives the same. The append is
 * stored: a read that fails does not fail the request. */
static void read_returned(struct api_call *c, struct append_return *r)
{
    const struct session_receipt *receipt = &c->receipt;
    const struct sv id = receipt->session_id, user = c->precondition.user;
    if (r->has_window) {
        r->query.last_seq = receipt->last_seq;
        enum err e = session_window(c->sessions, c->ctx, id, user, &r->query, &r->window);
        /* Another generation is another session. A degraded window may lack what was appended. */
        if (e == ERR_NONE && r->window.stamp.generation != receipt->generation)
            e = ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "The session was deleted meanwhile.");
        else if (e == ERR_NONE && r->window.degraded)
            e = ctx_fault(c->ctx, ERR_UNAVAILABLE, "PostgreSQL is away");
        r->failed = e != ERR_NONE;
    } else if (r->limit > 0) {
        const struct session_page_query query = {
            .before = receipt->last_seq + 1, .limit = (size_t)r->limit, .is_recent = true};
        r->failed = session_page(c->sessions, c->ctx, id, user, &query, &r->newest) != ERR_NONE;
        if (r->failed || r->newest.degraded || r->newest.stamp.generation != receipt->generation)
            r->newest.n = 0;
    }
}

enum err native_messages_append(struct api_call *c)
{
    struct session_append append = {.create = c->params[APPEND_CREATE]};
    struct append_return returned = {.limit = 0};
    bool single = false;
    TRY(read_return(c, &returned));
    TRY(native_read_messages(&c->body, &append, &single));
    TRY(session_append(c->sessions, c->ctx, &c->target, &append));
    TRY(native_location(c, c->receipt.session_id, c->receipt.first_seq));
    read_returned(c, &returned);
    struct json_writer j = api_begin(c->res, c->receipt.status);
    write_receipt(&j, c, &append, single, &returned);
    ctx_clear_error(c->ctx);
    return api_set_etag_receipt(c);
}

enum { PAGE_LIMIT, PAGE_AFTER, PAGE_BEFORE, PAGE_MAX_BYTES, PAGE_ORDER };
const struct api_param native_page_params[] = {
    [PAGE_LIMIT] = {"limit", 1, SESSION_MESSAGES_MAX, SESSION_NEWEST, {NULL}},
    [PAGE_AFTER] = {"after", 0, INT64_MAX, 0, {NULL}},
    [PAGE_BEFORE] = {"before", 1, INT64_MAX, 0, {NULL}},
    [PAGE_MAX_BYTES] = {"max_bytes", 1, INT32_MAX, 0, {NULL}},
    [PAGE_ORDER] = {.name = "order", .choices = {"desc", "asc"}},
    {.name = NULL}};

/* The query of the page after this one, whose last message is the new bound. */
static void write_next_query(struct json_writer *j, const struct session_page_query *q,
                             int64_t last)
{
    const int64_t after = q->ascending ? last : q->after, before = q->ascending ? q->before : last;
    json_write_key(j, "next");
    buf_printf(j->b, "\"limit=%zu&order=%s", q->limit, q->ascending ? "asc" : "desc");
    if (after > 0)
        buf_printf(j->b, "&after=%" PRId64, after);
    if (before > 0)
        buf_printf(j->b, "&before=%" PRId64, before);
    if (q->max_bytes > 0)
        buf_printf(j->b, "&max_bytes=%" PRId64, q->max_bytes);
    json_write_raw(j, SV("\""));
}

enum err native_messages_page(struct api_call *c)
{
    const struct session_page_query query = {.after = c->params[PAGE_AFTER],
                                             .before = c->params[PAGE_BEFORE],
                                             .limit = (size_t)c->params[PAGE_LIMIT],
                                             .ascending = c->params[PAGE_ORDER],
                                             .max_bytes = c->params[PAGE_MAX_BYTES]};
    struct session_page page;
    TRY(session_page(c->sessions, c->ctx, c->id, c->precondition.user, &query, &page));
    TRY(api_set_etag(
        c, page.degraded,
        http_etag(c->ctx->arena, page.stamp.generation, 'v', page.stamp.version, page.stamp.mark)));
    if (c->res->status == 304)
        return ERR_NONE;
    struct json_writer j = api_begin_object(c->res, 200);
    json_write_key(&j, "data");
    session_json_messages(&j, page.messages, page.n);
    json_put_bool(&j, "has_more", page.has_more);
    const int64_t first = page.n > 0 ? page.messages[0].seq : 0;
    const int64_t last = page.n > 0 ? page.messages[page.n - 1].seq : 0;
    json_put_i64_or_null(&j, "first_seq", first);
    json_put_i64_or_null(&j, "last_seq", last);
    json_put_i64_or_null(&j, "min_seq", query.ascending ? first : last);
    json_put_i64_or_null(&j, "max_seq", query.ascending ? last : first);
    if (page.has_more)
        write_next_query(&j, &query, last);
    else
        json_put_raw(&j, "next", SV_NONE);
    if (page.over_budget)
        json_put_bool(&j, "over_budget", true);
    api_write_degraded(&j, page.degraded);
    json_write_object_close(&j);
    return ERR_NONE;
}

/* See API_MESSAGE. */
const struct api_param native_message_params[] = {{.name = "by", .choices = {"seq", "id"}},
                                                  {.name = NULL}};

enum err native_message_get(struct api_call *c)
{
    struct session_message message;
    TRY(session_message_get(c->sessions, c->ctx, c->id, c->precondition.user, c->message,
                            &message));
    struct json_writer j = api_begin(c->res, 200);
    session_json_message(&j, &message, NULL);
    return ERR_NONE;
}

enum err native_message_delete(struct api_call *c)
{
    return session_message_delete(c->sessions, c->ctx, &c->target, c->message, NULL);
}
