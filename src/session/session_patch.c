/* SPDX-License-Identifier: MIT */
/*
 * Changes of a session: a patch of its state or of a message, an update of messages and context
 * together, and the deletion of a message, which is such an update. A patch of a user's state.
 *
 * session_change_state reads the state, changes it, and stores it only if it is still the one that
 * was read; else it begins again. No lock is held between the round trips. Appends do not
 * interfere, because they leave state_version alone. Each of several patches at once is applied to
 * the result of the one before it. An update of messages alone takes one round trip.
 */
#include "session_internal.h"

#include <string.h>

#include "parley/json/doc.h"
#include "parley/json/members.h"
#include "parley/json/json_writer.h"
#include "parley/session/session_json.h"

/* Changes what has this name, within most bytes. patch: absent: no change; null: {}. */
static enum err patch_member(struct request_ctx *ctx, int64_t most, const char *name,
                             struct sv *value, struct sv patch, enum session_patch_how how)
{
    enum err e = ERR_NONE;
    if (!patch.p)
        return ERR_NONE;
    if (sv_eq(patch, SV("null"))) {
        *value = SV("{}");
        return ERR_NONE;
    }
    if (how == SESSION_PATCH_REPLACE)
        *value = patch;
    else
        e = json_merge(ctx, *value, patch,
                       how == SESSION_PATCH_OVERLAY ? JSON_MERGE_OVERLAY : JSON_MERGE_PATCH, value);
    /* Patches add up: without a limit the state would outgrow what one answer can contain. */
    if (e == ERR_NONE && value->n > (size_t)most)
        return ctx_fail(ctx, ERR_TOO_LARGE, "state_too_large", name,
                        "%s would be larger than %lld bytes.", name, (long long)most);
    return e;
}

static enum err apply_patch(struct sessions *s, struct request_ctx *ctx,
                            const struct session_patch *patch, struct session *next)
{
    const int64_t most = s->settings.state_bytes;
    if (patch->has_user_id)
        next->user_id = patch->user_id;
    if (patch->has_language)
        next->language = patch->language;
    if (patch->has_ttl)
        next->ttl_seconds = patch->ttl_seconds ? patch->ttl_seconds : s->settings.ttl_seconds;
    TRY(patch_member(ctx, most, "context", &next->context, patch->context, SESSION_PATCH_MERGE));
    return patch_member(ctx, most, "metadata", &next->metadata, patch->metadata,
                        patch->metadata_how);
}

enum err session_change_state(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    while (!deadline_passed(ctx->deadline)) {
        struct session base, now;
        arena_rewind(ctx->arena, mark);
        enum err e = sql_session_read(s, ctx, w->id, w->precondition->user, 0, &base);
        if (e == ERR_NONE)
            e = w->change(s, ctx, w, &base);
        if (e == ERR_NONE && w->done)
            return e;
        /* Another request changed it in between, or a condition does not hold. */
        arena_rewind(ctx->arena, mark);
        if (e == ERR_NONE)
            e = sql_session_read(s, ctx, w->id, w->precondition->user, 0, &now);
        if (e != ERR_NONE)
            return e == ERR_NOT_FOUND ? ERR_NONE : e;
        if (now.generation == base.generation && now.state_version == base.state_version &&
            now.state_mark == base.state_mark)
            return ERR_NONE;
    }
    return ctx_fail(ctx, ERR_BUSY, NULL, NULL, "Too many requests change this session at once.");
}

static enum err try_patch(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                          const struct session *base)
{
    *w->out = *base;
    TRY(apply_patch(s, ctx, w->patch, w->out));
    return sql_session_update(s, ctx, w, base);
}

enum err session_patch(struct sessions *s, struct request_ctx *ctx,
                       const struct session_target *target, const struct session_patch *patch,
                       struct session *out)
{
    struct session_write w = SESSION_WRITE(target, .patch = patch, .change = try_patch, .out = out);
    TRY(session_write_uncached(s, ctx, &w, session_change_state));
    if (w.receipt->replayed)
        return session_of_record(s, ctx, &w, out);
    out->session_id = w.id;
    sql_apply_receipt(out, w.receipt);
    out->messages = NULL;
    out->n_messages = 0;
    return ERR_NONE;
}

static enum err try_update(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           const struct session *base)
{
    struct sv context = base->context;
    TRY(patch_member(ctx, s->settings.state_bytes, "context", &context, w->update->context,
                     SESSION_PATCH_OVERLAY));
    return sql_session_edit(s, ctx, w, base, sv_eq(context, base->context) ? SV_NONE : context);
}

static enum err change_by_update(struct sessions *s, struct request_ctx *ctx,
                                 struct session_write *w)
{
    w->fault = 0;
    return w->update->context.p ? session_change_state(s, ctx, w)
                                : sql_session_edit(s, ctx, w, NULL, SV_NONE);
}

/* Whether all it does is add messages. Those without ids replace nothing. */
static bool is_append(const struct session_update *u, const struct session_precondition *p)
{
    bool appends = u->n_messages > 0 && !u->clear && !u->context.p && !p->if_match;
    for (size_t i = 0; appends && i < u->n_messages; i++)
        appends = u->edits[i] == SESSION_PUT && !u->messages[i].message_id.p;
    return appends;
}

enum err session_update(struct sessions *s, struct request_ctx *ctx,
                        const struct session_target *target, const struct session_update *update,
                        size_t *at)
{
    struct session_write w = SESSION_WRITE(target, .update = update, .change = try_update);
    const struct session_append append = {.messages = update->messages,
                                          .n_messages = update->n_messages};
    *at = SESSION_MESSAGES_MAX;
    if (is_append(update, w.precondition))
        return session_append(s, ctx, target, &append);
    const enum err e = session_write_uncached(s, ctx, &w, change_by_update);
    if (e != ERR_NOT_FOUND || w.fault == 0)
        return e;
    *at = w.fault - 1;
    if (update->edits[*at] == SESSION_REMOVE)
        return ctx_fail(ctx, ERR_INVALID, "no_such_message", "message_id",
                        "There is no message with this id to remove.");
    return ctx_fail(ctx, ERR_CONFLICT, "message_id_taken", "message_id",
                    "This id is reserved for a later message of the session.");
}

enum err session_message_delete(struct sessions *s, struct request_ctx *ctx,
                                const struct session_target *target,
                                struct session_message_name which, struct session *out)
{
    const struct session_message named = {.message_id = which.id};
    const enum session_edit remove = SESSION_REMOVE;
    const struct session_update update = {
        .messages = &named, .edits = &remove, .n_messages = 1, .seq = which.seq};
    struct session_write w = SESSION_WRITE(target, .update = &update, .out = out);
    const enum err e = session_write_uncached(s, ctx, &w, change_by_update);
    if (e == ERR_NONE && out)
        return session_of_record(s, ctx, &w, out);
    return e == ERR_NOT_FOUND && w.fault > 0 ? session_message_not_found(ctx) : e;
}

/* ---- a patch of a message ---- */

/* As an append checks it (api_check_content), but with the stored members. */
static enum err check_content(struct request_ctx *ctx, struct session_message *m)
{
    const bool is_message = sv_eq(m->type, SV("message"));
    const bool is_null = !m->content.p || m->content.p[0] == 'n';
    const bool ok = is_null ? !is_message || session_has_content_elsewhere(m->extra)
                            : strchr(is_message ? "\"[" : "\"[{", m->content.p[0]) != NULL;
    if (is_null)
        m->content = is_message ? SV("null") : SV_NONE;
    return ok ? ERR_NONE
              : ctx_fail(ctx, ERR_INVALID, "invalid_field", "content",
                         "content must be a string or an array of parts; null only beside "
                         "tool_calls, function_call, refusal or audio.");
}

static enum err apply_message_patch(struct sessions *s, struct request_ctx *ctx,
                                    const struct session_message *patch, struct session_message *m)
{
    struct sv extra = m->extra.p ? m->extra : SV("{}");
    if (patch->content.p)
        m->content = patch->content;
    if (patch->tokens.p)
        m->tokens = sv_eq(patch->tokens, SV("null")) ? SV_NONE : patch->tokens;
    TRY(patch_member(ctx, s->settings.state_bytes, "metadata", &m->metadata, patch->metadata,
                     SESSION_PATCH_MERGE));
    if (m->metadata.n > JSON_STORED_BYTES_MAX)
        return ctx_fail(ctx, ERR_TOO_LARGE, "state_too_large", "metadata",
                        "metadata would be larger than %d bytes.", JSON_STORED_BYTES_MAX);
    TRY(patch_member(ctx, s->settings.state_bytes, "extra", &extra, patch->extra,
                     SESSION_PATCH_MERGE));
    m->extra = sv_eq(extra, SV("{}")) ? SV_NONE : extra;
    return patch->content.p || patch->extra.p ? check_content(ctx, m) : ERR_NONE;
}

static enum err try_message_patch(struct sessions *s, struct request_ctx *ctx,
                                  struct session_write *w, const struct session *base)
{
    struct session_message m;
    struct buf text;
    struct json_writer j = {.b = &text};
    const enum err e = session_message_get(s, ctx, w->id, w->precondition->user, w->named, &m);
    w->fault = e == ERR_NOT_FOUND;
    TRY(e);
    TRY(apply_message_patch(s, ctx, w->message_patch, &m));
    m.edited_at = 0; /* it is the time of the write */
    buf_init(&text, ctx->arena, 0);
    session_json_message(&j, &m, NULL);
    if (text.failed)
        return ctx_nomem(ctx);
    w->state = buf_get(&text);
    return sql_message_patch(s, ctx, w, base, &m);
}

enum err session_message_patch(struct sessions *s, struct request_ctx *ctx,
                               const struct session_target *target,
                               struct session_message_name which,
                               const struct session_message *patch, struct sv *message)
{
    struct session_write w =
        SESSION_WRITE(target, .message_patch = patch, .named = which, .change = try_message_patch);
    const enum err e = session_write_uncached(s, ctx, &w, session_change_state);
    if (e == ERR_NONE && !w.state.p) /* a replay; the sweeper removes that of a deleted session */
        return session_not_found(ctx);
    *message = w.state;
    return e;
}

/* ---- a user's state ---- */

static enum err state_not_found(struct request_ctx *ctx)
{
    return ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "There is no state of this user.");
}

enum err session_user_state_get(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                int64_t generation, struct session *out)
{
    const struct session_precondition none = {.user = SV_NONE};
    bool allowed;
    TRY(sql_reachable(s, ctx));
    TRY(sql_user_state_read(s, ctx, user, generation, &none, out, &allowed));
    return out->version > 0 ? ERR_NONE : state_not_found(ctx);
}

/* As session_change_state. The read says whether the change is allowed. So w->done stays unset only
 * if it is not, and w->out is what was read. */
static enum err try_change(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    struct session *out = w->out;
    while (!deadline_passed(ctx->deadline)) {
        bool allowed;
        arena_rewind(ctx->arena, mark);
        TRY(sql_user_state_read(s, ctx, w->id, 0, w->precondition, out, &allowed));
        if (!allowed || (!w->patch && out->version == 0))
            return ERR_NONE;
        if (w->patch && w->patch->has_ttl)
            out->ttl_seconds = w->patch->ttl_seconds;
        if (w->patch)
            TRY(patch_member(ctx, s->settings.user_state_bytes, "state", &out->context,
                             w->patch->context, SESSION_PATCH_MERGE));
        TRY(sql_user_state_change(s, ctx, w));
        if (w->done)
            return ERR_NONE;
    }
    return ctx_fail(ctx, ERR_BUSY, NULL, NULL, "Too many requests change this state at once.");
}

enum err session_user_state_change(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                   const struct session_patch *patch,
                                   const struct session_precondition *precondition,
                                   struct session *out, struct session_receipt *receipt)
{
    struct session_write w = {
        .id = user, .patch = patch, .precondition = precondition, .out = out, .receipt = receipt};
    TRY(fresh_writable(s, ctx));
    fresh_contend(ctx, user);
    const enum err e = session_write_idempotent(s, ctx, &w, try_change);
    if (e == ERR_NOT_FOUND && (patch || out->version > 0))
        return ctx_fail(ctx, ERR_PRECONDITION, "version_conflict", "If-Match",
                        "The version of the state is %lld (0: there is none).",
                        (long long)out->version);
    if (e != ERR_NONE || !patch)
        return e == ERR_NOT_FOUND ? state_not_found(ctx) : e;
    /* The record of a state that was deleted since keeps nothing of it. */
    if (receipt->replayed)
        TRY(w.state.p ? session_of_record(s, ctx, &w, out) : state_not_found(ctx));
    sql_apply_receipt(out, receipt);
    out->user_id = user;
    return ERR_NONE;
}
