/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/users/{id}: erasure and export. */
#include "native.h"

#include "parley/api/transfer.h"
#include "parley/obs/log.h"

/* ---- erase ---- */

/* An Idempotency-Key is accepted and not recorded: an erasure can be repeated without harm. */
enum err native_user_delete(struct api_call *c)
{
    struct session_erasure done;
    if (http_header_get(c->req, "if-match").p)
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_header", "If-Match",
                        "A user has no entity tag.");
    const enum err e = session_erase_user(c->sessions, c->ctx, c->id, &done);
    const int64_t counts[] = {done.sessions, done.messages, done.keys};
    if (e == ERR_NONE || e == ERR_OUTCOME_UNKNOWN)
        log_audit(c->ctx, "", "user_erase", e == ERR_NONE && !done.has_more, SV_NONE, counts);
    TRY(e);
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_i64(&j, "sessions_deleted", done.sessions);
    json_put_i64(&j, "messages_deleted", done.messages);
    json_put_bool(&j, "has_more", done.has_more);
    if (done.expire_by > 0) {
        json_put_object(&j, "caches");
        json_put_time(&j, "expire_by", done.expire_by);
        json_write_object_close(&j);
    } else {
        json_put_sv(&j, "caches", SV("cleared"));
    }
    json_write_object_close(&j);
    return ERR_NONE;
}

/* ---- export ---- */

/* A piece ends with the first part that reaches one of these. */
enum { PIECE_BYTES = 256 * 1024, PIECE_MS = 1000 };

/* Lies in the arena until the last piece is sent. */
struct export
{
    struct request_ctx ctx;
    struct api_service *api;
    LIST_ENTRY(export) link; /* in api_service.exports */
    struct session_export x;
    bool ended;
};

static enum err write_piece(struct request_ctx *ctx, struct export *e, struct buf *b)
{
    const struct deadline enough = deadline_in_ms(PIECE_MS);
    struct json_writer j = {.b = b};
    while (!e->ended && b->n < PIECE_BYTES && !deadline_passed(enough)) {
        struct session_export_part part;
        TRY(session_export_next(e->api->sessions, ctx, &e->x, &part));
        transfer_write(&j, SV_NONE, &e->x, &part);
        e->ended = part.end;
    }
    return b->failed ? ctx_nomem(ctx) : ERR_NONE;
}

/* Each piece has the deadline of a request; the client decides how long the whole takes. */
static enum err next_piece(void *arg, struct buf *piece, bool *more)
{
    struct export *e = arg;
    e->ctx.deadline = deadline_in_ms(e->api->request_ms);
    enum err rc = write_piece(&e->ctx, e, piece);
    *more = !e->ended;
    if (rc == ERR_NONE)
        return rc;
    struct log_line l;
    log_begin(&l, LOG_ERROR, "export_failed");
    log_sv(&l, "request_id", e->ctx.request_id);
    log_sv(&l, "tenant", e->ctx.tenant);
    log_str(&l, "error", err_name(rc));
    log_str(&l, "cause", e->ctx.err.cause);
    log_end(&l);
    return rc;
}

/* An export to a slow client occupies a thread, so at most exports_max run at once. A tenant gets a
 * slot while it has fewer than are free: alone it gets half of them, rounded up, and the last one
 * goes to a tenant that has none. */
static enum err take_export_slot(struct request_ctx *ctx, struct export *e)
{
    struct api_service *api = e->api;
    int all = 0, own = 0;
    pthread_mutex_lock(&api->exports_lock);
    for (const struct export *other = LIST_FIRST(&api->exports); other;
         other = LIST_NEXT(other, link)) {
        all++;
        own += sv_eq(other->ctx.tenant, e->ctx.tenant);
    }
    const bool taken = api->exports_max == 0 || own < api->exports_max - all;
    if (taken)
        LIST_INSERT_HEAD(&api->exports, e, link);
    pthread_mutex_unlock(&api->exports_lock);
    if (taken)
        return ERR_NONE;
    return ctx_fail(ctx, ERR_OVERLOAD, NULL, NULL, "Too many exports%s are under way; try again.",
                    own > 0 ? " of this tenant" : "");
}

/* Runs when the arena is reset, however the request ends. The arena's memory is still valid. */
static void release_export_slot(void *arg)
{
    struct export *e = arg;
    const int64_t counts[] = {e->x.sessions, e->x.messages, 0};
    pthread_mutex_lock(&e->api->exports_lock);
    LIST_REMOVE(e, link);
    pthread_mutex_unlock(&e->api->exports_lock);
    if (e->x.begun)
        log_audit(&e->ctx, "", "user_export", e->ended, SV_NONE, counts);
}

enum err native_user_export(struct api_call *c)
{
    struct export *e = arena_zalloc(c->ctx->arena, sizeof(*e));
    if (!e)
        return ctx_nomem(c->ctx);
    e->api = c->api;
    e->ctx = *c->ctx;
    e->x.user = c->id;
    TRY(take_export_slot(c->ctx, e));
    if (arena_defer(c->ctx->arena, release_export_slot, e) != ERR_NONE)
        return ctx_nomem(c->ctx);
    c->res->status = 200;
    c->res->content_type = "application/x-ndjson";
    enum err rc = write_piece(c->ctx, e, &c->res->body);
    e->ctx = *c->ctx;
    if (rc == ERR_NONE && !e->ended) {
        c->res->next_piece = next_piece;
        c->res->piece_arg = e;
    }
    return rc;
}
