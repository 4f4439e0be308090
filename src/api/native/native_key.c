/* SPDX-License-Identifier: MIT */
/* GET /v1/key: what the caller's key or token may do. It asks PostgreSQL nothing. */
#include "native.h"

enum err native_key(struct api_call *c)
{
    const struct request_ctx *ctx = c->ctx;
    const int64_t expires_at = ctx->key_expires_at < INT64_MAX ? ctx->key_expires_at : 0;
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_sv(&j, "tenant", ctx->tenant);
    json_put_str(&j, "scope", ctx->read_only ? "read" : "write");
    json_put_sv(&j, "user_id", ctx->only_user);
    json_put_sv(&j, "session_id", ctx->only_session);
    json_put_time_or_null(&j, "expires_at", expires_at);
    json_put_bool(&j, "search", c->api->search);
    json_write_object_close(&j);
    return ERR_NONE;
}
