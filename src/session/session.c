/* SPDX-License-Identifier: MIT */
/* Opens and closes the service; ids, and small rules that its files share. */
#include "session_internal.h"

#include <stdlib.h>

struct sessions *sessions_open(const struct sessions_settings *settings, struct db *db,
                               struct cache *cache, struct metrics_slot *slot)
{
    struct sessions *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->settings = *settings;
    s->db = db;
    s->cache = cache;
    s->slot = slot;
    if (settings->sweep_s == 0 || thread_loop_start(&s->sweeper, sweeper_main, s))
        return s;
    free(s);
    return NULL;
}

void sessions_close(struct sessions *s)
{
    if (!s)
        return;
    if (s->settings.sweep_s > 0)
        thread_loop_stop(&s->sweeper);
    free(s);
}

bool sessions_is_alone(const struct sessions *s)
{
    return db_hosts_is_alone(s->settings.hosts);
}

bool session_is_expired(const struct session *s, int64_t now_us)
{
    return s->expires_at <= now_us;
}

bool session_id_valid(struct sv id)
{
    return id.n >= 1 && id.n <= SESSION_ID_MAX && sv_all_of(id, "._:-") && !sv_eq(id, SV(".")) &&
           !sv_eq(id, SV(".."));
}

/* See session_id_canonical. */
static enum err uuid_of_prefixed(struct request_ctx *ctx, struct sv prefix, struct sv *id)
{
    char uuid[UUID_LEN + 1];
    if (!sv_starts_with(*id, prefix) ||
        !uuid_from_hex((struct sv){id->p + prefix.n, id->n - prefix.n}, uuid))
        return ERR_NONE;
    *id = arena_dup(ctx->arena, (struct sv){uuid, UUID_LEN});
    return id->p ? ERR_NONE : ctx_nomem(ctx);
}

enum err session_id_canonical(struct request_ctx *ctx, struct sv *id)
{
    return uuid_of_prefixed(ctx, SV("conv_"), id);
}

enum err session_message_id_canonical(struct request_ctx *ctx, struct sv *id)
{
    return uuid_of_prefixed(ctx, SV("msg_"), id);
}

bool session_message_id_valid(struct sv id)
{
    size_t digits = 0;
    while (digits < id.n && id.p[digits] >= '0' && id.p[digits] <= '9')
        digits++;
    return session_id_valid(id) && digits < id.n;
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

enum err session_being_deleted(struct request_ctx *ctx)
{
    ctx->err.retry_after_s = 1;
    return ctx_fail(ctx, ERR_BUSY, NULL, "session_id", "The session was being deleted.");
}

enum err session_database_away(struct request_ctx *ctx)
{
    return ctx_fault(ctx, ERR_UNAVAILABLE, "PostgreSQL is known to be away");
}

struct sv session_message_id(struct sv given, int64_t generation, int64_t seq,
                             char made[UUID_LEN + 1])
{
    if (given.p)
        return given;
    uuid_v8_pack((uint64_t)generation, (uint64_t)seq, made);
    return (struct sv){made, UUID_LEN};
}

struct session_message session_message_of(const struct session_message_draft *draft,
                                          int64_t generation, int64_t seq, int64_t at,
                                          char made[UUID_LEN + 1])
{
    const struct sv id = session_message_id(draft->message_id, generation, seq, made);
    return (struct session_message){
        seq,          id, draft->type, draft->role, draft->content, draft->metadata,
        draft->extra, at, SV_NONE};
}

enum err session_messages_of(struct request_ctx *ctx, const struct session_message_draft *drafts,
                             size_t n, int64_t generation, int64_t first_seq, int64_t at,
                             struct session_message *out)
{
    char *ids = arena_array(ctx->arena, n, UUID_LEN + 1);
    if (!ids)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        out[i] = session_message_of(&drafts[i], generation, first_seq + (int64_t)i, at,
                                    ids + i * (UUID_LEN + 1));
    return ERR_NONE;
}
