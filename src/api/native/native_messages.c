/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/sessions/{id}/messages and of single messages. */
#include "native.h"

#include "parley/base/uuid.h"
#include "parley/session/session_json.h"

static void write_message_id(struct json_writer *j, const struct session_receipt *r, int64_t seq,
                             struct sv given)
{
    char made[UUID_LEN + 1];
    json_write_sv(j, session_message_id(given, r->generation, seq, made));
}

/* Made of the receipt alone, so that a replay gives the same answer. */
static void write_receipt(struct json_writer *j, const struct session_append *append, bool single,
                          const struct session_receipt *r)
{
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
    if (append->return_n > 0) {
        json_write_key(j, "messages");
        session_json_messages(j, r->window, r->n_window);
    }
    json_write_object_close(j);
}

enum { APPEND_CREATE, APPEND_RETURN };
const struct api_param native_append_params[] = {
    [APPEND_CREATE] = {.name = "create", .choices = {"false", "true"}},
    [APPEND_RETURN] = {"return", 0, SESSION_MESSAGES_MAX, 0, {NULL}},
    {.name = NULL}};

enum err native_messages_append(struct api_call *c)
{
    struct session_append append = {.create = c->params[APPEND_CREATE],
                                    .return_n = (size_t)c->params[APPEND_RETURN]};
    bool single = false;
    TRY(native_read_messages(&c->body, &append, &single));
    TRY(session_append(c->sessions, c->ctx, c->id, &append, &c->precondition, &c->receipt));
    TRY(native_location(c, c->receipt.session_id, c->receipt.first_seq));
    struct json_writer j = api_begin(c->res, c->receipt.status);
    write_receipt(&j, &append, single, &c->receipt);
    return api_set_etag_receipt(c);
}

enum { PAGE_LIMIT, PAGE_AFTER, PAGE_BEFORE, PAGE_MAX_BYTES, PAGE_ORDER };
const struct api_param native_page_params[] = {
    [PAGE_LIMIT] = {"limit", 1, SESSION_MESSAGES_MAX, SESSION_WINDOW, {NULL}},
    [PAGE_AFTER] = {"after", 0, INT64_MAX, 0, {NULL}},
    [PAGE_BEFORE] = {"before", 1, INT64_MAX, 0, {NULL}},
    [PAGE_MAX_BYTES] = {"max_bytes", 1, INT32_MAX, 0, {NULL}},
    [PAGE_ORDER] = {.name = "order", .choices = {"desc", "asc"}},
    {.name = NULL}};

enum err native_messages_page(struct api_call *c)
{
    const struct session_page_query query = {.after = c->params[PAGE_AFTER],
                                             .before = c->params[PAGE_BEFORE],
                                             .limit = (size_t)c->params[PAGE_LIMIT],
                                             .ascending = c->params[PAGE_ORDER],
                                             .max_bytes = c->params[PAGE_MAX_BYTES]};
    struct session_page page;
    TRY(session_page(c->sessions, c->ctx, c->id, c->precondition.user, &query, &page));
    TRY(api_set_etag(c, page.degraded,
                     http_etag_version(c->ctx->arena, page.generation, page.version, page.mark)));
    if (c->res->status == 304)
        return ERR_NONE;
    struct json_writer j = api_begin(c->res, 200);
    json_write_object_open(&j);
    json_write_key(&j, "data");
    session_json_messages(&j, page.messages, page.n);
    json_put_bool(&j, "has_more", page.has_more);
    if (page.n > 0) {
        json_put_i64(&j, "first_seq", page.messages[0].seq);
        json_put_i64(&j, "last_seq", page.messages[page.n - 1].seq);
    } else {
        json_put_raw(&j, "first_seq", SV_NONE);
        json_put_raw(&j, "last_seq", SV_NONE);
    }
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
    c->res->status = 204;
    return session_message_delete(c->sessions, c->ctx, c->id, c->message, &c->precondition,
                                  &c->receipt);
}
