/* SPDX-License-Identifier: MIT */
/* What is remembered of a user: /v1/users/{id}/state, and ?with=user_state of other reads. */
#include "native.h"

void native_write_state(struct json_writer *j, const struct session *state)
{
    json_write_object_open(j);
    json_put_sv(j, "user_id", state->user_id);
    json_put_raw(j, "state", state->context);
    json_put_i64(j, "version", state->version);
    json_put_time(j, "created_at", state->created_at);
    json_put_time(j, "updated_at", state->updated_at);
    json_put_time_or_null(j, "expires_at", state->ttl_seconds > 0 ? state->expires_at : 0);
    json_put_i64_or_null(j, "ttl_seconds", state->ttl_seconds);
    json_write_object_close(j);
}

/* GET, PATCH and DELETE. */
enum err native_user_state(struct api_call *c)
{
    static const struct json_field fields[] = {
        {"state", JSON_OBJECT_TEXT, JSON_NULLABLE, offsetof(struct session_patch, context), 0, 0},
        {"ttl_seconds", JSON_I64, JSON_NULLABLE, offsetof(struct session_patch, ttl_seconds), 1,
         API_TTL_MAX}};
    const bool patches = c->req->method == HTTP_PATCH, deletes = c->req->method == HTTP_DELETE;
    struct session_patch patch = {.has_ttl = false};
    struct session *out = &c->session;
    if (patches) {
        TRY(json_read(&c->body, fields, JSON_REFUSED, &patch));
        const struct json_node *state = json_doc_member(&c->doc, c->body.node, SV("state"));
        patch.context = state ? state->raw : SV_NONE; /* also null */
        patch.has_ttl = json_doc_member(&c->doc, c->body.node, SV("ttl_seconds")) != NULL;
    }
    TRY(patches || deletes
            ? session_user_state_change(c->sessions, c->ctx, c->id, patches ? &patch : NULL,
                                        &c->precondition, out, &c->receipt)
            : session_user_state_get(c->sessions, c->ctx, c->id, 0, out));
    if (deletes)
        return ERR_NONE;
    TRY(api_set_etag(c, false, http_etag(c->ctx->arena, 0, 'u', out->version, out->mark)));
    if (c->res->status == 304)
        return ERR_NONE;
    struct json_writer j = api_begin(c->res, 200);
    native_write_state(&j, out);
    return ERR_NONE;
}

enum err native_read_with(struct api_call *c, struct sv user, int64_t generation, bool degraded)
{
    if (c->ctx->only_session.p)
        return ctx_fail(c->ctx, ERR_FORBIDDEN, "session_token", "with",
                        "The token is for one session; the state is of its user.");
    c->with_user_state = true;
    struct session *state = &c->user_state;
    const enum err e =
        degraded ? ERR_NONE : session_user_state_get(c->sessions, c->ctx, user, generation, state);
    state->mark = ~state->mark;
    if (e == ERR_NOT_FOUND)
        ctx_clear_error(c->ctx);
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

void native_write_with(struct json_writer *j, const struct api_call *c)
{
    if (!c || !c->with_user_state)
        return;
    json_write_key(j, "user_state");
    if (c->user_state.version > 0)
        native_write_state(j, &c->user_state);
    else
        json_write_null(j);
}
