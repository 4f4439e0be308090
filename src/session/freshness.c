/* SPDX-License-Identifier: MIT */
/*
 * The read path, and what a write does with the caches. The rule: no read is older than an
 * acknowledged write, on any host (docs/internals/architecture.md).
 *
 * A cached value is used only if PostgreSQL, asked after the request arrived, says that its stamp
 * is current. There are two exceptions: the memory of a host that is alone (db/hosts.h), and,
 * marked as degraded, reads while PostgreSQL is away.
 *
 * No write depends on a cache. A write takes a snapshot, runs its statement, commits, raises the
 * epoch, and then answers.
 */
#include "session_internal.h"

#include "parley/base/encode.h"

static struct cache_key key_of(const struct request_ctx *ctx, struct sv id)
{
    return (struct cache_key){ctx->tenant, id};
}

struct cache_stamp session_stamp(const struct session *session)
{
    return (struct cache_stamp){session->generation, session->version, session->mark};
}

enum err fresh_writable(struct sessions *s, struct request_ctx *ctx)
{
    TRY(sql_reachable(s, ctx));
    if (db_hosts_may_write(s->settings.hosts))
        return ERR_NONE;
    return ctx_fault(ctx, ERR_UNAVAILABLE, "this host is not registered yet");
}

/* ---- values ---- */

static bool has_enough(const struct session *session, size_t n)
{
    return session->n_messages >= n || session->n_messages == (size_t)session->message_count;
}

/* A lower bound of the size of a session's value: what is too large need not be encoded. */
static size_t value_bytes_at_least(const struct session *session)
{
    const size_t n = session->n_messages;
    size_t bytes = session->context.n + session->metadata.n;
    for (size_t i = n < SESSION_NEWEST ? 0 : n - SESSION_NEWEST; i < n; i++)
        bytes += session->messages[i].content.n + session->messages[i].extra.n;
    return bytes;
}

static bool encode_value(struct sessions *s, struct request_ctx *ctx, const struct session *session,
                         struct cache_value *out)
{
    if (value_bytes_at_least(session) > cache_value_max(s->cache))
        return false;
    out->stamp = session_stamp(session);
    out->ttl_ms = (session->expires_at - db_now_us(s->db)) / 1000;
    if (out->ttl_ms <= 0)
        return false;
    if (session_codec_encode(ctx, session, &out->bytes) == ERR_NONE)
        return true;
    ctx_clear_error(ctx); /* too large for the request's memory: then it is in no cache */
    return false;
}

/* False: the value is not the session of this id and stamp. */
static bool decode_value(struct request_ctx *ctx, struct sv id, const struct cache_value *value,
                         struct session *out)
{
    return session_codec_decode(ctx, value->bytes, out) && sv_eq(out->session_id, id) &&
           cache_stamp_eq(session_stamp(out), value->stamp);
}

/* ---- reading ---- */

struct cached_read {
    struct cache_key key;
    struct cache_snapshot snapshot; /* taken before PostgreSQL is asked */
    struct cache_found found;
    bool has; /* session is set: a cache has it, with enough messages */
    struct session session;
};

static void find_cached(struct sessions *s, struct request_ctx *ctx, size_t n, bool redis_too,
                        struct cached_read *r)
{
    r->has = cache_find(s->cache, ctx, r->key, &r->snapshot, redis_too, &r->found) &&
             decode_value(ctx, r->key.id, &r->found.value, &r->session) &&
             has_enough(&r->session, n);
}

static void count_source(struct sessions *s, struct request_ctx *ctx, enum metrics_source from)
{
    static const char *const names[] = {"memory", "redis", "postgres"};
    ctx->trace.source = names[from];
    if (s->slot)
        metrics_add(&s->slot->source_hits[from], 1);
}

/* The deadline for PostgreSQL. It leaves time for the caches, since a server that hangs takes all
 * the time that it gets. */
static struct deadline database_deadline(struct deadline whole)
{
    const int kept_ms = deadline_left_ms(whole) / 4;
    return (struct deadline){whole.at_us - (kept_ms < 500 ? kept_ms : 500) * INT64_C(1000)};
}

static void store_read(struct sessions *s, struct request_ctx *ctx, const struct cached_read *r,
                       bool redis_too, const struct session *session)
{
    struct cache_value value;
    /* The answer needs the memory. */
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    if (has_enough(session, SESSION_NEWEST) && encode_value(s, ctx, session, &value))
        cache_put(s->cache, ctx, r->key, &r->snapshot, redis_too, &value);
    arena_rewind(ctx->arena, mark);
}

/* The answer while PostgreSQL is away: perhaps old, and marked as degraded. */
static bool read_degraded(struct sessions *s, struct request_ctx *ctx, size_t n,
                          struct cached_read *r, struct session *out)
{
    if (!r->has)
        find_cached(s, ctx, n, true, r);
    if (!r->has || session_is_expired(&r->session, db_now_us(s->db)))
        return false;
    *out = r->session;
    out->degraded = true;
    count_source(s, ctx, r->found.from);
    return true;
}

/* Whether a read failed because PostgreSQL is away, and not because it is overloaded. */
static bool is_away(const struct sessions *s, enum err e)
{
    return e == ERR_UNAVAILABLE || ((e == ERR_OVERLOAD || e == ERR_TIMEOUT) && !db_is_up(s->db));
}

/* ---- reading ahead ---- */

struct session_ahead {
    struct request_ctx *ctx;
    struct cached_read read;
    bool done;  /* else the request has to ask alone */
    bool found; /* there is such a session; now is set */
    struct sql_stamp now;
};

struct session_ahead *session_ahead_new(struct request_ctx *ctx, struct sv id)
{
    struct session_ahead *a = arena_alloc(ctx->arena, sizeof(*a));
    if (!a)
        return NULL;
    *a = (struct session_ahead){.ctx = ctx, .read = {.key = key_of(ctx, id)}};
    ctx->ahead = a;
    return a;
}

void session_ahead_read(struct sessions *s, struct arena *shared,
                        struct session_ahead *const *ahead, size_t n)
{
    struct db_batch_member members[SESSION_AHEAD_MAX];
    struct session_ahead *asking[SESSION_AHEAD_MAX];
    struct request_ctx ctx;
    size_t asked = 0;
    if (n < 2)
        return;
    ctx_init(&ctx, shared, ahead[0]->ctx->deadline, SV(""), SV("ahead"));
    ctx.before_wait = ahead[0]->ctx->before_wait;
    for (size_t i = 0; i < n; i++) {
        struct session_ahead *a = ahead[i];
        a->read.snapshot = cache_snapshot(s->cache, a->read.key);
        find_cached(s, a->ctx, 0, false, &a->read);
        ctx.deadline = deadline_earlier(ctx.deadline, database_deadline(a->ctx->deadline));
        if (!a->read.has)
            continue;
        asking[asked] = a;
        members[asked++] =
            (struct db_batch_member){.tenant = a->read.key.tenant, .key = a->read.key.id};
    }
    if (asked > 1)
        db_read_batch(s->db, &ctx, &sql_stamps_stmt, members, asked);
    for (size_t i = 0; i < asked; i++) {
        asking[i]->done = members[i].done;
        asking[i]->found = members[i].done && members[i].row >= 0;
        if (asking[i]->found)
            sql_stamp_from_row(&members[i].rows, members[i].row, &asking[i]->now);
    }
    for (size_t i = 0; i < n; i++)
        ahead[i]->ctx->trace.sql_us += ctx.trace.sql_us;
}

bool session_ahead_is_useful(const struct sessions *s)
{
    return cache_has_memory(s->cache) && !db_hosts_is_alone(s->settings.hosts);
}

bool session_ahead_is_done(const struct request_ctx *ctx)
{
    const struct session_ahead *a = ctx->ahead;
    return a && a->done;
}

/* What was read ahead for this request and this session, or NULL. It is used once. */
static const struct session_ahead *take_ahead(struct request_ctx *ctx, struct sv id)
{
    const struct session_ahead *a = ctx->ahead;
    ctx->ahead = NULL;
    return a && a->done && sv_eq(a->read.key.id, id) ? a : NULL;
}

/* ---- one read ---- */

/* Returns the cached value if PostgreSQL says that it is current, else the row, which it then
 * caches. ahead: the stamp that was read ahead; NULL: asks now. */
static enum err read_checked(struct sessions *s, struct request_ctx *ctx, size_t n,
                             struct cached_read *r, const struct session_ahead *ahead,
                             struct session *out)
{
    struct sql_stamp now;
    if (ahead && !ahead->found)
        return ERR_NOT_FOUND;
    if (ahead)
        now = ahead->now;
    else if (r->has)
        TRY(sql_stamp_read(s, ctx, r->key.id, &now));
    if (!r->has || !cache_stamp_eq(now.stamp, r->found.value.stamp)) {
        TRY(sql_session_read(s, ctx, r->key.id, SV_NONE, n > SESSION_NEWEST ? n : SESSION_NEWEST,
                             out));
        count_source(s, ctx, METRICS_POSTGRES);
        store_read(s, ctx, r, true, out);
        return ERR_NONE;
    }
    *out = r->session;
    out->user_id = now.user_id; /* PostgreSQL decides who the owner is */
    count_source(s, ctx, r->found.from);
    if (r->found.from == METRICS_REDIS ||
        (!r->found.current && db_hosts_is_alone(s->settings.hosts)))
        store_read(s, ctx, r, false, out);
    return ERR_NONE;
}

static enum err read_through(struct sessions *s, struct request_ctx *ctx, struct sv id, size_t n,
                             struct session *out)
{
    const struct session_ahead *ahead = take_ahead(ctx, id);
    /* Decided before memory is looked at. If the shortcut began in between, another host may have
     * written what was found. */
    const bool alone = !ahead && db_hosts_is_alone(s->settings.hosts);
    const struct deadline whole = ctx->deadline;
    struct cached_read r = {.key = key_of(ctx, id)};
    enum err e = sql_reachable(s, ctx);
    if (ahead) {
        r = ahead->read;
        r.has = has_enough(&r.session, n);
    } else {
        r.snapshot = cache_snapshot(s->cache, r.key);
        find_cached(s, ctx, n, e == ERR_NONE, &r);
    }
    /* A host that is alone on its database need not ask. */
    if (e == ERR_NONE && r.has && r.found.current && alone &&
        !session_is_expired(&r.session, db_now_us(s->db))) {
        *out = r.session;
        count_source(s, ctx, METRICS_MEMORY);
        return ERR_NONE;
    }
    ctx->deadline = database_deadline(whole);
    if (e == ERR_NONE)
        e = read_checked(s, ctx, n, &r, ahead, out);
    ctx->deadline = whole;
    if (e == ERR_NOT_FOUND)
        cache_remove(s->cache, r.key, true);
    else if (e != ERR_NONE && is_away(s, e) && read_degraded(s, ctx, n, &r, out)) {
        ctx_clear_error(ctx);
        return ERR_NONE;
    }
    return e;
}

enum err fresh_read(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                    size_t n, struct session *out)
{
    enum err e = read_through(s, ctx, id, n, out);
    if (e == ERR_NOT_FOUND || (e == ERR_NONE && !session_user_matches(out, user)))
        return session_not_found(ctx);
    return e;
}

/* ---- writing ---- */

/* Two ids may have the same contention key. */
void fresh_contend(struct request_ctx *ctx, struct sv id)
{
    ctx->contention_key = (hash_bytes(NULL, ctx->tenant) * 3 + hash_bytes(NULL, id)) | 1;
}

enum err fresh_write_begin(struct sessions *s, struct request_ctx *ctx, struct sv id,
                           struct fresh_write *w)
{
    *w = (struct fresh_write){.key = key_of(ctx, id)};
    fresh_contend(ctx, id);
    TRY(fresh_writable(s, ctx));
    w->snapshot = cache_snapshot(s->cache, w->key);
    return ERR_NONE;
}

void fresh_write_end(struct sessions *s, struct request_ctx *ctx, struct fresh_write *w,
                     enum err result, const struct session *now)
{
    struct cache_value value;
    /* Then the write neither changed the session nor read it. One that PostgreSQL refused may have
     * read what another writer has committed. */
    if (result == ERR_TIMEOUT || result == ERR_OVERLOAD || result == ERR_UNAVAILABLE)
        return;
    cache_raise_epoch(s->cache, &w->snapshot, result == ERR_OUTCOME_UNKNOWN);
    if (result != ERR_NONE)
        return;
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    if (now && encode_value(s, ctx, now, &value))
        cache_put(s->cache, ctx, w->key, &w->snapshot, !w->appends, &value);
    else
        cache_remove(s->cache, w->key, !w->appends);
    arena_rewind(ctx->arena, mark);
}

/* Adds the messages of a write to those of a session, and keeps the newest SESSION_NEWEST. */
static enum err add_messages(struct request_ctx *ctx, const struct session_message *drafts,
                             size_t n, const struct session_receipt *receipt,
                             struct session *session)
{
    const size_t added = n < SESSION_NEWEST ? n : SESSION_NEWEST, skip = n - added;
    const size_t room = SESSION_NEWEST - added;
    const size_t kept = session->n_messages < room ? session->n_messages : room;
    struct session_message *m = arena_array(ctx->arena, kept + added, sizeof(*m));
    if (!m)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < kept; i++)
        m[i] = session->messages[session->n_messages - kept + i];
    TRY(session_messages_of(ctx, drafts, n, skip, receipt, m + kept));
    session->messages = m;
    session->n_messages = kept + added;
    return ERR_NONE;
}

bool fresh_after_append(struct sessions *s, struct request_ctx *ctx, const struct fresh_write *w,
                        const struct session_append *append, const struct session_receipt *receipt,
                        struct session *out)
{
    const struct cache_stamp before = {receipt->generation, receipt->version - 1,
                                       receipt->mark_before};
    struct cache_found found;
    if (!session_is_read_as_sent(SV("{}"), append->messages, append->n_messages))
        return false;
    /* Only the value directly before this write may be continued. */
    if (!cache_find(s->cache, ctx, w->key, &w->snapshot, false, &found) ||
        !cache_stamp_eq(found.value.stamp, before) ||
        !decode_value(ctx, w->key.id, &found.value, out))
        return false;
    out->native = SV_NONE;
    sql_apply_receipt(out, receipt);
    return add_messages(ctx, append->messages, append->n_messages, receipt, out) == ERR_NONE;
}
