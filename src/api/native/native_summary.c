/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/sessions/{id}/summary. */
#include "native.h"

/* version and state_version are those of the session. */
static void write_summary(struct json_writer *j, struct sv session_id, int64_t version,
                          int64_t state_version)
{
    json_write_object_open(j);
    json_put_sv(j, "session_id", session_id);
    json_put_i64(j, "version", version);
    json_put_i64(j, "state_version", state_version);
    json_write_key(j, "summary");
}

enum err native_summary_get(struct api_call *c)
{
    const struct session *s = &c->session;
    TRY(session_get(c->sessions, c->ctx, c->id, c->precondition.user, 0, &c->session));
    if (!s->summary.p)
        return ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "The session has no summary.");
    TRY(api_set_etag_state(c));
    if (c->res->status == 304)
        return ERR_NONE;
    struct json_writer j = api_begin(c->res, 200);
    write_summary(&j, s->session_id, s->version, s->state_version);
    json_write_raw(&j, s->summary);
    api_write_degraded(&j, s->degraded);
    json_write_object_close(&j);
    return ERR_NONE;
}

/* The answer is made from the request and the receipt alone, so a replay gives the same one. */
enum err native_summary_put(struct api_call *c)
{
    struct session_message summary;
    const struct session_receipt *r = &c->receipt;
    TRY(native_read_summary(&c->body, &summary));
    TRY(session_summary_put(c->sessions, c->ctx, c->id, &summary, &c->precondition, &c->receipt));
    struct json_writer j = api_begin(c->res, 200);
    write_summary(&j, r->session_id, r->version, r->state_version);
    json_write_object_open(&j);
    json_put_i64(&j, "last_seq", summary.seq);
    json_put_raw(&j, "content", summary.content);
    json_put_raw(&j, "tokens", summary.tokens);
    json_put_bool(&j, "stale", false);
    json_put_time(&j, "created_at", r->at);
    json_write_object_close(&j);
    json_write_object_close(&j);
    return api_set_etag_receipt(c);
}

enum err native_summary_delete(struct api_call *c)
{
    c->res->status = 204;
    return session_summary_delete(c->sessions, c->ctx, c->id, &c->precondition, &c->receipt);
}
