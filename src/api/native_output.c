/* SPDX-License-Identifier: MIT */
/* The native interface's answers, written straight into the response. */
#include "native.h"

#include <inttypes.h>

void native_write_message(struct jout *j, const struct session_message *m)
{
    jout_object_open(j);
    jout_key(j, "message_id");
    jout_sv(j, m->message_id);
    jout_key(j, "seq");
    jout_i64(j, m->seq);
    jout_key(j, "type");
    jout_sv(j, m->type);
    jout_key(j, "role");
    jout_sv(j, m->role);
    jout_key(j, "content");
    jout_raw(j, m->content);
    jout_key(j, "metadata");
    jout_raw(j, m->metadata);
    if (m->extra.p) {
        jout_key(j, "extra");
        jout_raw(j, m->extra);
    }
    jout_key(j, "created_at");
    jout_time(j, m->created_at);
    jout_object_close(j);
}

void native_write_messages(struct jout *j, const char *key, const struct session_message *m,
                           size_t n)
{
    jout_key(j, key);
    jout_array_open(j);
    for (size_t i = 0; i < n; i++)
        native_write_message(j, &m[i]);
    jout_array_close(j);
}

static void write_fields(struct jout *j, const struct session *s)
{
    jout_key(j, "session_id");
    jout_sv(j, s->session_id);
    jout_key(j, "user_id");
    jout_sv(j, s->user_id);
    jout_key(j, "language");
    jout_sv(j, s->language);
    jout_key(j, "version");
    jout_i64(j, s->version);
    jout_key(j, "state_version");
    jout_i64(j, s->state_version);
    jout_key(j, "created_at");
    jout_time(j, s->created_at);
    jout_key(j, "updated_at");
    jout_time(j, s->updated_at);
    jout_key(j, "expires_at");
    jout_time(j, s->expires_at);
    jout_key(j, "is_expired");
    /* What is expired is not served; see db_now_us. */
    jout_bool(j, false);
    jout_key(j, "ttl_seconds");
    jout_i64(j, s->ttl_seconds);
    jout_key(j, "expiry");
    jout_sv(j, s->sliding ? SV("sliding") : SV("absolute"));
    if (s->context.p) {
        jout_key(j, "context");
        jout_raw(j, s->context);
    }
    jout_key(j, "metadata");
    jout_raw(j, s->metadata);
    jout_key(j, "message_count");
    jout_i64(j, s->message_count);
}

void native_write_session(struct jout *j, const struct session *s)
{
    jout_object_open(j);
    write_fields(j, s);
    api_write_degraded(j, s->degraded);
    native_write_messages(j, "messages", s->messages, s->n_messages);
    jout_object_close(j);
}

void native_write_session_alone(struct jout *j, const struct session *s)
{
    jout_object_open(j);
    write_fields(j, s);
    jout_object_close(j);
}

enum err native_location(struct request_ctx *ctx, struct http_response *res, struct sv id,
                         int64_t seq)
{
    /* The alphabet of session ids needs no escape in a path. */
    struct sv where =
        seq > 0 ? arena_printf(ctx->arena, "/v1/sessions/%.*s/messages/%" PRId64, SV_ARG(id), seq)
                : arena_printf(ctx->arena, "/v1/sessions/%.*s", SV_ARG(id));
    if (!where.p)
        return ctx_nomem(ctx);
    http_response_header(res, "Location", where);
    return ERR_NONE;
}
