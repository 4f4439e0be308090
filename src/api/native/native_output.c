/* SPDX-License-Identifier: MIT */
/* What answers of the native interface have in common. */
#include "native.h"

#include <inttypes.h>

#include "parley/session/session_json.h"

void native_write_session(struct json_writer *j, const struct session *s, bool messages)
{
    json_write_object_open(j);
    session_json_members(j, s, NULL);
    api_write_degraded(j, s->degraded);
    if (messages) {
        json_write_key(j, "messages");
        session_json_messages(j, s->messages, s->n_messages);
    }
    json_write_object_close(j);
}

enum err native_location(struct api_call *c, struct sv id, int64_t seq)
{
    /* The alphabet of session ids needs no escape in a path. */
    struct sv where = seq > 0 ? arena_printf(c->ctx->arena, "/v1/sessions/%.*s/messages/%" PRId64,
                                             SV_ARG(id), seq)
                              : arena_printf(c->ctx->arena, "/v1/sessions/%.*s", SV_ARG(id));
    if (!where.p)
        return ctx_nomem(c->ctx);
    http_response_header(c->res, "Location", where);
    return ERR_NONE;
}
