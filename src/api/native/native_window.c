/* SPDX-License-Identifier: MIT */
/* Windows: the handler of /v1/sessions/{id}/window, and what an append with ?return=window shares
 * with it. */
#include "native.h"

#include <inttypes.h>
#include <string.h>

#include "parley/base/encode.h"
#include "parley/session/session_json.h"

enum { MAX_MESSAGES, MAX_TOKENS, MAX_BYTES, START_ON, END_ON, INCLUDE_SYSTEM, WITH };
const struct api_param native_window_params[] = {
    NATIVE_WINDOW, {.name = "with", .choices = {"", "user_state"}}, {.name = NULL}};

/* Roles with commas between, in each parameter of that name. */
static enum err read_roles(struct api_call *c, const char *name, unsigned *out)
{
    for (size_t i = 0; i < c->req->n_params; i++) {
        struct sv words = c->req->params[i].value;
        if (!sv_eq(c->req->params[i].name, sv_from(name)))
            continue;
        do {
            size_t index;
            TRY(api_choice(c->ctx, "invalid_parameter", name, &NAMES(session_role_names),
                           sv_cut(&words, ','), &index));
            *out |= session_role_names[index].role;
        } while (words.p);
    }
    return ERR_NONE;
}

enum err native_read_window(struct api_call *c, struct session_window_query *out)
{
    *out = (struct session_window_query){
        .most = {c->params[MAX_MESSAGES], c->params[MAX_TOKENS], c->params[MAX_BYTES]},
        .include_system = c->params[INCLUDE_SYSTEM] || !http_param_get(c->req, "include_system").p};
    TRY(read_roles(c, "start_on", &out->start_on));
    TRY(read_roles(c, "end_on", &out->end_on));
    out->start_on = out->start_on ? out->start_on : SESSION_ROLE_USER;
    return ERR_NONE;
}

void native_write_window(struct json_writer *j, const struct session_window *w,
                         const struct api_call *with)
{
    json_write_object_open(j);
    json_write_key(j, "data");
    session_json_messages(j, w->messages, w->n);
    json_put_i64(j, "tokens", w->cost.tokens);
    json_put_i64(j, "estimated", w->estimated);
    json_put_i64(j, "bytes", w->cost.bytes);
    json_put_i64_or_null(j, "first_seq", w->first_seq);
    json_put_i64_or_null(j, "last_seq", w->last_seq);
    json_put_i64_or_null(j, "summary_seq", w->summary_seq);
    json_put_i64_or_null(j, "system_seq", w->system_seq);
    json_put_bool(j, "truncated", w->truncated);
    json_put_array(j, "open_calls");
    for (size_t i = 0; i < w->n_open_calls; i++)
        json_write_sv(j, w->open_calls[i]);
    json_write_array_close(j);
    json_put_array(j, "omitted");
    for (size_t i = 0; i < w->n_omitted; i++)
        json_write_i64(j, w->omitted[i]);
    json_write_array_close(j);
    if (w->gap_first_seq > 0) {
        json_put_object(j, "gap");
        json_put_i64(j, "first_seq", w->gap_first_seq);
        json_put_i64(j, "last_seq", w->gap_last_seq);
        json_write_object_close(j);
    } else {
        json_put_raw(j, "gap", SV_NONE);
    }
    native_write_with(j, with);
    api_write_degraded(j, w->degraded);
    json_write_object_close(j);
}

/* The tag of a window is that of its query, too: a client that keeps one tag for a session must not
 * get 304 for another query. */
static struct sv window_tag(struct api_call *c, const struct session_window_query *q,
                            const struct session_window *w)
{
    unsigned char digest[SHA256_LEN];
    uint64_t hash;
    const struct sv text = arena_printf(
        c->ctx->arena, "%" PRId64 " %" PRId64 " %" PRId64 " %u %u %d", q->most.messages,
        q->most.tokens, q->most.bytes, q->start_on, q->end_on, q->include_system);
    if (!text.p)
        return SV_NONE;
    sha256_parts((const struct sv[]){c->ctx->tenant, text}, 2, digest);
    memcpy(&hash, digest, sizeof(hash));
    return http_etag(c->ctx->arena, w->stamp.generation, 'w', w->stamp.version,
                     w->stamp.mark ^ hash);
}

enum err native_window_get(struct api_call *c)
{
    struct session_window_query query;
    struct session_window window;
    TRY(native_read_window(c, &query));
    TRY(session_window(c->sessions, c->ctx, c->id, c->precondition.user, &query, &window));
    if (c->params[WITH]) {
        TRY(native_read_with(c, c->precondition.user, window.stamp.generation, window.degraded));
        window.stamp.mark ^= c->user_state.mark;
    }
    TRY(api_set_etag(c, window.degraded, window_tag(c, &query, &window)));
    if (c->res->status == 304)
        return ERR_NONE;
    struct json_writer j = api_begin(c->res, 200);
    native_write_window(&j, &window, c);
    return ERR_NONE;
}
