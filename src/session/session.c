/* SPDX-License-Identifier: MIT */
/* Ids, and small rules that the files of the service share. */
#include "session_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "parley/json/members.h"

bool session_is_expired(const struct session *s, int64_t now_us)
{
    return s->expires_at <= now_us;
}

enum err session_id_canonical(struct request_ctx *ctx, struct sv prefix, struct sv *id)
{
    char uuid[UUID_LEN + 1];
    if (!sv_starts_with(*id, prefix) ||
        !uuid_convert((struct sv){id->p + prefix.n, id->n - prefix.n}, false, uuid))
        return ERR_NONE;
    *id = arena_dup(ctx->arena, (struct sv){uuid, UUID_LEN});
    return id->p ? ERR_NONE : ctx_nomem(ctx);
}

bool session_user_matches(const struct session *session, struct sv user)
{
    return !user.p || (session->user_id.p && sv_eq(session->user_id, user));
}

enum err session_not_found(struct request_ctx *ctx)
{
    return ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such session.");
}

enum err session_message_not_found(struct request_ctx *ctx)
{
    return ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such message.");
}

enum err session_message_id_taken(struct request_ctx *ctx, const struct session_message *messages,
                                  size_t n, size_t at)
{
    char field[48] = "message_id";
    if (n > 1 && at < n)
        snprintf(field, sizeof(field), "messages[%zu].message_id", at);
    ctx->err.detail_is_sent = at < n;
    return ctx_fail(ctx, ERR_CONFLICT, "message_id_taken", field,
                    "Another message of the session, or of the request, has this id%s%.*s",
                    at < n ? ": " : ".", SV_ARG(at < n ? messages[at].message_id : SV("")));
}

enum err session_full(const struct sessions *s, struct request_ctx *ctx)
{
    ctx->err.retry_after_s = 30; /* messages may have been removed by then */
    return ctx_fail(ctx, ERR_LIMITED, "session_messages", NULL,
                    "The session would have more than the %lld messages that it may have.",
                    (long long)s->settings.messages_max);
}

enum err session_being_deleted(struct request_ctx *ctx)
{
    return ctx_fail(ctx, ERR_BUSY, NULL, "session_id", "The session was being deleted.");
}

struct sv session_message_id(struct sv given, int64_t generation, int64_t seq,
                             char made[UUID_LEN + 1])
{
    if (given.p)
        return given;
    uuid_v8_pack((uint64_t)generation, (uint64_t)seq, made);
    return (struct sv){made, UUID_LEN};
}

enum err session_messages_of(struct request_ctx *ctx, const struct session_message *drafts,
                             size_t n, size_t skip, const struct session_receipt *receipt,
                             struct session_message *out)
{
    char *ids = arena_array(ctx->arena, n - skip, UUID_LEN + 1);
    if (!ids)
        return ctx_nomem(ctx);
    for (size_t i = skip; i < n; i++) {
        struct session_message *m = &out[i - skip];
        *m = drafts[i];
        m->seq = receipt->first_seq + (int64_t)i;
        m->message_id = session_message_id(m->message_id, receipt->generation, m->seq,
                                           ids + (i - skip) * (UUID_LEN + 1));
        m->created_at = receipt->at;
    }
    return ERR_NONE;
}

bool session_is_read_as_sent(struct sv metadata, const struct session_message *messages, size_t n)
{
    bool same = sv_eq(metadata, SV("{}"));
    for (size_t i = 0; same && i < n; i++)
        same = sv_eq(messages[i].metadata, SV("{}"));
    return same;
}

enum err session_summary_message(struct request_ctx *ctx, struct sv text,
                                 struct session_message *out)
{
    const struct sv tokens = json_member_get(text, "tokens");
    *out = (struct session_message){.type = SV("summary"),
                                    .role = SV("system"),
                                    .content = json_member_get(text, "content"),
                                    .tokens = sv_eq(tokens, SV("null")) ? SV_NONE : tokens};
    if (!sv_to_i64(json_member_get(text, "last_seq"), &out->seq))
        return ctx_fault(ctx, ERR_INTERNAL, "a summary cannot be read");
    out->message_id = arena_printf(ctx->arena, "summary:%" PRId64, out->seq);
    out->metadata =
        arena_printf(ctx->arena, "{\"stale\":%.*s}", SV_ARG(json_member_get(text, "stale")));
    out->native = arena_printf(
        ctx->arena,
        "{\"message_id\":\"%.*s\",\"seq\":%" PRId64 ",\"type\":\"summary\",\"role\":\"system\","
        "\"content\":%.*s,\"metadata\":%.*s,%s%.*s%s\"created_at\":%.*s}",
        SV_ARG(out->message_id), out->seq, SV_ARG(out->content), SV_ARG(out->metadata),
        out->tokens.p ? "\"tokens\":" : "", SV_ARG(out->tokens.p ? out->tokens : SV("")),
        out->tokens.p ? "," : "", SV_ARG(json_member_get(text, "created_at")));
    return out->message_id.p && out->native.p ? ERR_NONE : ctx_nomem(ctx);
}
