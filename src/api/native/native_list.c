/* SPDX-License-Identifier: MIT */
/* Lists of sessions: of a user, and of the tenant with filters. */
#include <string.h>

#include "native.h"

enum { LIST_DEFAULT = 20 };
const struct api_param native_user_list_params[] = {
    {"limit", 1, SESSION_LIST_MAX, LIST_DEFAULT, {NULL}}, {.name = "cursor"}, {.name = NULL}};
const struct api_param native_list_params[] = {{"limit", 1, SESSION_LIST_MAX, LIST_DEFAULT, {NULL}},
                                               {.name = "cursor"},
                                               {.name = "user_id"},
                                               {.name = "created_after"},
                                               {.name = "created_before"},
                                               {.name = "metadata.KEY", .max = API_LIST},
                                               {.name = NULL}};

enum err native_read_time(struct api_call *c, const char *name, int64_t *out)
{
    const struct sv value = http_param_get(c->req, name);
    char text[CLOCK_RFC3339_MAX];
    if (!value.p)
        return ERR_NONE;
    if (value.n > 6 && value.n <= sizeof(text)) {
        memcpy(text, value.p, value.n);
        /* The plus sign of an offset, which was not encoded. No such time has a space. */
        if (text[value.n - 6] == ' ')
            text[value.n - 6] = '+';
        if (clock_read_rfc3339((struct sv){text, value.n}, out))
            return ERR_NONE;
    }
    return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", name,
                    "%s must be a time of RFC 3339 with at most six decimals, such as "
                    "2026-11-23T21:50:00.000000Z.",
                    name);
}

/* Makes {"KEY":"VALUE"} of all metadata.KEY=VALUE, sorted, so that a cursor does not depend on the
 * order in which the client sends them. */
static enum err read_metadata(struct api_call *c, struct sv *out)
{
    const struct sv prefix = SV("metadata.");
    const struct http_pair *sorted[HTTP_PARAMS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->req->n_params; i++) {
        const struct http_pair *p = &c->req->params[i];
        size_t at = n;
        if (!sv_starts_with(p->name, prefix))
            continue;
        c->ctx->err.field_is_sent = true;
        if (p->name.n == prefix.n)
            return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", p->name.p,
                            "The name of a member of the metadata must follow the dot.");
        TRY(http_param_once(c->ctx, c->req, p->name.p));
        for (; at > 0 && sv_compare(sorted[at - 1]->name, p->name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = p;
        n++;
    }
    c->ctx->err.field_is_sent = false;
    if (n == 0)
        return ERR_NONE;
    struct buf b;
    buf_init(&b, c->ctx->arena, 256);
    struct json_writer j = {.b = &b};
    json_write_object_open(&j);
    for (size_t i = 0; i < n; i++) {
        struct sv key = sorted[i]->name;
        sv_skip(&key, prefix.n);
        json_write_sv(&j, key);
        buf_putc(&b, ':');
        j.comma = false;
        json_write_sv(&j, sorted[i]->value);
    }
    json_write_object_close(&j);
    *out = buf_get(&b);
    return b.failed ? ctx_nomem(c->ctx) : ERR_NONE;
}

enum err native_read_user_filter(struct api_call *c, struct sv *out)
{
    const struct sv user = http_param_get(c->req, "user_id"), header = c->precondition.user;
    if (user.p && !auth_user_valid(user))
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_parameter", "user_id",
                        "A user is named by " AUTH_USER_RULE ".");
    if (user.p && header.p && !sv_eq(user, header))
        return ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such user.");
    *out = user.p ? user : header;
    return ERR_NONE;
}

/* Both lists. The route of a user's list refuses the filters. */
enum err native_session_list(struct api_call *c)
{
    struct session_list_query q = {.created_before = SESSION_ANY_TIME,
                                   .limit = (size_t)c->params[0]};
    struct session_list found;
    struct session_position after;
    struct native_list list;
    int64_t at[2];
    struct sv next = SV_NONE;
    const struct sv cursor = http_param_get(c->req, "cursor");
    TRY(native_read_user_filter(c, &q.user));
    if (c->id.p)
        q.user = c->id;
    TRY(native_read_time(c, "created_after", &q.created_after));
    TRY(native_read_time(c, "created_before", &q.created_before));
    TRY(read_metadata(c, &q.metadata));
    native_list_of(&q, &list);
    if (cursor.p) {
        TRY(native_position_read(c->ctx, &list, cursor, at));
        after = (struct session_position){at[0], at[1]};
        q.after = &after;
    }
    TRY(session_list(c->sessions, c->ctx, &q, &found));
    at[0] = found.end.created_at;
    at[1] = found.end.generation;
    if (found.has_more)
        TRY(native_position_make(c->ctx, &list, at, &next));
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_array(&j, "data");
    for (size_t i = 0; i < found.n; i++)
        native_write_session(&j, &found.sessions[i]);
    json_write_array_close(&j);
    json_put_bool(&j, "has_more", found.has_more);
    json_put_sv(&j, "next_cursor", next);
    json_write_object_close(&j);
    return ERR_NONE;
}
