/* SPDX-License-Identifier: MIT */
/* GET /v1/search: finds messages by their words, in all sessions of the tenant. */
#include "native.h"
#include "parley/session/search.h"

enum { SEARCH_LIMIT, SEARCH_SORT, SEARCH_DEFAULT = 20 };
const struct api_param native_search_params[] = {
    [SEARCH_LIMIT] = {"limit", 1, SEARCH_LIMIT_MAX, SEARCH_DEFAULT, {NULL}},
    [SEARCH_SORT] = {.name = "sort", .choices = {"relevance", "newest"}},
    {.name = "q"},
    {.name = "user_id"},
    {.name = "session_id"},
    {.name = "role"},
    {.name = "created_after"},
    {.name = "cursor"},
    {.name = NULL}};

static enum err read_search(struct api_call *c, struct search_query *q)
{
    const struct sv text = http_param_get(c->req, "q");
    *q = (struct search_query){.text = text,
                               .session_id = http_param_get(c->req, "session_id"),
                               .role = http_param_get(c->req, "role"),
                               .newest_first = c->params[SEARCH_SORT] == 1,
                               .limit = (size_t)c->params[SEARCH_LIMIT]};
    if (text.n == 0 || text.n > SEARCH_TEXT_MAX)
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", "q",
                        "q must be 1 to %d bytes: words to look for, \"a phrase\", or, -without.",
                        SEARCH_TEXT_MAX);
    TRY(api_session_id(c->ctx, "session_id", &q->session_id));
    if (q->role.p && (q->role.n > API_NAME_MAX || !id_valid(q->role)))
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", "role",
                        "role must be the role of a message, of 1 to %d bytes.", API_NAME_MAX);
    TRY(native_read_user_filter(c, &q->user));
    return native_read_time(c, "created_after", &q->created_after);
}

/* A cursor belongs to this search, with its filters and its order. q must outlive the result. */
static struct native_list list_of(const struct search_query *q)
{
    const struct sv created_after = {(const char *)&q->created_after, sizeof(q->created_after)};
    const struct sv order = q->newest_first ? SV("search newest") : SV("search");
    return (struct native_list){
        .n_numbers = SEARCH_POSITION,
        .n_parts = 6,
        .parts = {order, q->text, q->user, q->session_id, q->role, created_after}};
}

static void write_hit(struct json_writer *j, const struct search_hit *h)
{
    json_write_object_open(j);
    json_put_sv(j, "session_id", h->session_id);
    json_put_i64(j, "seq", h->seq);
    json_put_sv(j, "message_id", h->message_id);
    json_put_sv(j, "role", h->role);
    json_put_time(j, "created_at", h->created_at);
    json_put_raw(j, "matches", h->matches);
    json_put_raw(j, "snippet", h->snippet);
    json_write_object_close(j);
}

enum err native_search(struct api_call *c)
{
    struct search_query q;
    struct search_hits found;
    int64_t after[SEARCH_POSITION];
    struct sv next = SV_NONE;
    const struct sv cursor = http_param_get(c->req, "cursor");
    TRY(read_search(c, &q));
    const struct native_list list = list_of(&q);
    if (cursor.p) {
        TRY(native_position_read(c->ctx, &list, cursor, after));
        q.after = after;
    }
    TRY(session_messages_search(c->sessions, c->ctx, &q, &found));
    if (found.has_more)
        TRY(native_position_make(c->ctx, &list, found.end, &next));
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_array(&j, "data");
    for (size_t i = 0; i < found.n; i++)
        write_hit(&j, &found.hits[i]);
    json_write_array_close(&j);
    json_put_bool(&j, "has_more", found.has_more);
    json_put_sv(&j, "next_cursor", next);
    json_put_bool(&j, "complete", found.complete);
    json_write_object_close(&j);
    return ERR_NONE;
}
