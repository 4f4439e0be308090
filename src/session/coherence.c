/* SPDX-License-Identifier: MIT */
/*
 * Coherence of the tiers with PostgreSQL: no read older than an acknowledged write.
 *
 *   read    tier? ── hit: check identity, expiry and user, answer
 *             └ miss: the ticket notes when and where; ask PostgreSQL; offer the value with the
 *               ticket. The tier refuses it while a fence stands, or when it is too old.
 *   write   fence (drops the value) ── statement ── commit ── settle (new value, if it is known and
 *           the fence is still this writer's) ── answer
 *
 * The fence is set before the statement is sent and settled before the answer goes out, so between
 * commit and answer no reader finds the old value, and no late fill brings it back. A statement
 * whose outcome is not known leaves its fence standing for its full time: it outlives the longest
 * write. One that certainly did nothing puts back what its fence dropped.
 *
 * While PostgreSQL is away, reads are answered from the tiers, and say so; writes are refused
 * before their fence, so that the tiers keep what they have.
 */
#include "session_internal.h"

#include <string.h>

static const int64_t tier_ttl_max_ms = INT64_C(604800) * 1000;

static struct cache_key key_of(const struct request_ctx *ctx, struct sv id)
{
    return (struct cache_key){ctx->tenant, id};
}

/* The newest window of a session that may hold more; shares its memory. */
static struct session windowed(const struct session *session)
{
    struct session w = *session;
    if (w.n_messages > SESSION_WINDOW) {
        w.messages += w.n_messages - SESSION_WINDOW;
        w.n_messages = SESSION_WINDOW;
    }
    return w;
}

static bool encode_value(struct sessions *s, struct request_ctx *ctx, const struct session *session,
                         struct cache_value *out)
{
    int64_t left_ms = (session->expires_at - db_now_us(s->db)) / 1000;
    if (left_ms <= 0)
        return false;
    struct session window = windowed(session);
    out->generation = session->generation;
    out->version = session->version;
    out->ttl_ms = left_ms < tier_ttl_max_ms ? left_ms : tier_ttl_max_ms;
    return codec_encode(ctx, &window, &out->bytes) == ERR_NONE;
}

/* A value is used only if it is what was asked for in every respect. */
static bool decode_value(struct request_ctx *ctx, struct sv id, const struct cache_value *value,
                         struct session *out)
{
    return codec_decode(ctx, value->bytes, out) && sv_eq(out->session_id, id) &&
           out->generation == value->generation && out->version == value->version;
}

static bool has_enough(const struct session *session, size_t n)
{
    return session->n_messages >= n || session->n_messages == (size_t)session->message_count;
}

/* Whose key could not be confirmed meets with PostgreSQL away, also if it comes back meanwhile. */
static bool is_up(const struct sessions *s, const struct request_ctx *ctx)
{
    return db_is_up(s->db) && !ctx->tiers_only;
}

enum err coherent_reachable(struct sessions *s, struct request_ctx *ctx)
{
    return is_up(s, ctx) ? ERR_NONE : session_database_away(ctx);
}

/* Whether a tier's value answers a read of n messages. */
static bool answers(struct sessions *s, struct request_ctx *ctx, struct sv id,
                    const struct cache_value *value, size_t n, struct session *out)
{
    return decode_value(ctx, id, value, out) && !session_is_expired(out, db_now_us(s->db)) &&
           has_enough(out, n);
}

static bool read_unverified(struct sessions *s, struct request_ctx *ctx, struct sv id, size_t n,
                            struct session *out)
{
    struct cache_value value;
    bool found = cache_read_unverified(s->cache, ctx, key_of(ctx, id), &value) &&
                 answers(s, ctx, id, &value, n, out);
    if (found)
        out->degraded = true;
    return found;
}

/* Whether a read failed because PostgreSQL is away, and not because it has too much to do. */
static bool is_away(const struct sessions *s, enum err e)
{
    return e == ERR_UNAVAILABLE || ((e == ERR_OVERLOAD || e == ERR_TIMEOUT) && !db_is_up(s->db));
}

/* Reads without the user, so that what is found can be kept for whoever asks next. A part of the
 * time is kept for the tiers: a server that hangs takes all that it gets. */
static enum err read_database(struct sessions *s, struct request_ctx *ctx, struct sv id, size_t n,
                              struct session *out)
{
    const struct deadline whole = ctx->deadline;
    const int kept_ms = deadline_left_ms(whole) / 4;
    if (s->cache)
        ctx->deadline.at_us -= (kept_ms < 500 ? kept_ms : 500) * INT64_C(1000);
    enum err e =
        repo_session_read(s, ctx, id, SV_NONE, n > SESSION_WINDOW ? n : SESSION_WINDOW, out);
    ctx->deadline = whole;
    if (e == ERR_NONE) {
        ctx->trace.tier = "postgres";
        if (s->slot)
            metrics_add(&s->slot->tier_hits[METRICS_POSTGRES], 1);
    }
    return e;
}

static enum err read_through(struct sessions *s, struct request_ctx *ctx, struct sv id, size_t n,
                             struct session *out)
{
    struct cache_ticket ticket = {.usable = false};
    struct cache_value value;
    if (s->cache && cache_read(s->cache, ctx, key_of(ctx, id), &value, &ticket) &&
        answers(s, ctx, id, &value, n, out)) {
        out->degraded = !is_up(s, ctx);
        return ERR_NONE;
    }
    enum err e = coherent_reachable(s, ctx);
    if (e == ERR_NONE)
        e = read_database(s, ctx, id, n, out);
    if (s->cache && is_away(s, e) && read_unverified(s, ctx, id, n, out)) {
        ctx_clear_error(ctx);
        return ERR_NONE;
    }
    if (e != ERR_NONE)
        return e;
    bool whole = out->n_messages >= SESSION_WINDOW || has_enough(out, SESSION_WINDOW);
    if (s->cache && ticket.usable && whole && encode_value(s, ctx, out, &value))
        cache_fill(s->cache, ctx, key_of(ctx, id), &ticket, &value);
    return ERR_NONE;
}

enum err coherent_read(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                       size_t n, struct session *out)
{
    enum err e = read_through(s, ctx, id, n, out);
    if (e == ERR_NOT_FOUND || (e == ERR_NONE && !session_user_matches(out, user)))
        return session_not_found(ctx);
    return e;
}

/* Whoever writes to a session waits for its row. FNV-1a: two sessions may well share a lane. */
static uint64_t lane_of(struct cache_key key)
{
    const struct sv part[] = {key.tenant, SV("/"), key.id};
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < ARRAY_LEN(part); i++)
        for (size_t k = 0; k < part[i].n; k++)
            h = (h ^ (unsigned char)part[i].p[k]) * UINT64_C(1099511628211);
    return h | 1;
}

enum err coherent_begin(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        struct coherent_write *w)
{
    memset(w, 0, sizeof(*w));
    w->key = key_of(ctx, id);
    ctx->lane = lane_of(w->key);
    enum err e = coherent_reachable(s, ctx);
    if (e != ERR_NONE || !s->cache)
        return e;
    e = cache_fence(s->cache, ctx, w->key, &w->fence);
    if (e == ERR_NONE)
        return e;
    ctx->err.retry_after_s = 1;
    return ctx_fault(ctx, e,
                     "a tier is away, and the record of the cache epoch could not be told so");
}

/* Whether a write that ended so never came to look at the session, and changed nothing. Not among
 * them is what PostgreSQL refused: it may have seen what another writer has committed and not yet
 * told, and whoever heard of that must not read what was before. */
static bool saw_nothing(enum err result)
{
    return result == ERR_TIMEOUT || result == ERR_OVERLOAD || result == ERR_UNAVAILABLE;
}

enum err coherent_end(struct sessions *s, struct request_ctx *ctx, struct coherent_write *w,
                      enum err result, const struct session *now)
{
    if (!s->cache)
        return result;
    w->fence.in_doubt = result == ERR_OUTCOME_UNKNOWN;
    struct cache_value value;
    const struct cache_value *put = NULL;
    if (result == ERR_NONE && now && encode_value(s, ctx, now, &value))
        put = &value;
    /* What the fence found was right then, and this writer has not changed it. If another one has,
     * it has yet to settle, which drops the value again before its answer, or has settled, and then
     * a tier stores nothing of ours: our fence in Redis is void, the epoch in memory is raised. */
    else if (saw_nothing(result) && w->fence.had)
        put = &w->fence.old;
    enum err e = cache_settle(s->cache, ctx, w->key, &w->fence, put);
    /* What changed nothing may be told as it is. */
    if (result != ERR_NONE || e == ERR_NONE)
        return result;
    return ctx_fault(ctx, e, "the change was made, but Redis is away and may show what was before");
}

/* The newest of the old messages and the new ones together, at most SESSION_WINDOW. */
static bool join_window(struct request_ctx *ctx, const struct session *old,
                        const struct session_append *append, const struct session_receipt *receipt,
                        struct session *out)
{
    size_t fresh = append->n_messages < SESSION_WINDOW ? append->n_messages : SESSION_WINDOW;
    size_t kept =
        old->n_messages < SESSION_WINDOW - fresh ? old->n_messages : SESSION_WINDOW - fresh;
    struct session_message *all = arena_array(ctx->arena, fresh + kept, sizeof(*all));
    char *ids = arena_array(ctx->arena, fresh, UUID_LEN + 1);
    if (!all || !ids)
        return false;
    for (size_t i = 0; i < kept; i++)
        all[i] = old->messages[old->n_messages - kept + i];
    for (size_t i = 0; i < fresh; i++) {
        const size_t left = fresh - 1 - i;
        all[kept + i] = session_message_of(&append->messages[append->n_messages - 1 - left],
                                           receipt->generation, receipt->last_seq - (int64_t)left,
                                           receipt->at, ids + i * (UUID_LEN + 1));
    }
    out->messages = all;
    out->n_messages = fresh + kept;
    return true;
}

bool coherent_after_append(struct request_ctx *ctx, const struct coherent_write *w,
                           const struct session_append *append,
                           const struct session_receipt *receipt, struct session *out)
{
    struct session old;
    if (!w->fence.had || !decode_value(ctx, w->key.id, &w->fence.old, &old))
        return false;
    /* One entity tag, one form: metadata comes back in jsonb's own form, which only PostgreSQL
     * knows (the empty object is the same in both). */
    for (size_t i = 0; i < append->n_messages; i++)
        if (!sv_eq(append->messages[i].metadata, SV("{}")))
            return false;
    /* Only the value that this very write followed may be carried on. */
    if (old.generation != receipt->generation || old.version + 1 != receipt->version)
        return false;
    *out = old;
    out->native = SV_NONE;
    out->version = receipt->version;
    out->last_seq = receipt->last_seq;
    out->message_count = receipt->message_count;
    out->updated_at = receipt->at;
    out->expires_at = receipt->expires_at;
    return join_window(ctx, &old, append, receipt, out);
}
