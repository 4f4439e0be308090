/* SPDX-License-Identifier: MIT */
/*
 * The memory tier: what the calls of a tier do with the table that the workers of this host share.
 * The rules are at the top of memory_internal.h. A value is kept behind its identity, which is
 * compared on each read; without a checksum as in Redis, since the bytes do not leave the host and
 * the table gives out nothing but what one writer has written whole.
 */
#include "memory_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cache_memory {
    struct cache_tier tier;
    struct memory_table *table; /* borrowed */
    pid_t self;
    int fence_ms;
    size_t value_max;
    _Atomic uint64_t mismatches;
};

static struct cache_memory *self_of(struct cache_tier *t)
{
    return (struct cache_memory *)t; /* its first member */
}

/* In front of tenant, id and the bytes. */
struct identity {
    int64_t generation, version;
    uint32_t tenant_n, id_n;
    uint64_t bytes_n;
};

bool memory_encode(struct arena *a, struct cache_key key, const struct cache_value *value,
                   struct sv *out)
{
    struct buf b;
    const struct identity who = {value->generation, value->version, (uint32_t)key.tenant.n,
                                 (uint32_t)key.id.n, value->bytes.n};
    if (key.tenant.n > UINT16_MAX || key.id.n > UINT16_MAX || value->bytes.n > UINT32_MAX)
        return false;
    buf_init(&b, a, sizeof who + key.tenant.n + key.id.n + value->bytes.n);
    buf_put(&b, &who, sizeof who);
    buf_sv(&b, key.tenant);
    buf_sv(&b, key.id);
    buf_sv(&b, value->bytes);
    *out = buf_get(&b);
    return !b.failed;
}

bool memory_decode(struct sv stored, struct cache_key key, struct cache_value *out)
{
    struct identity who;
    if (!stored.p || stored.n < sizeof who)
        return false;
    memcpy(&who, stored.p, sizeof who);
    const char *p = stored.p + sizeof who;
    if (who.tenant_n != key.tenant.n || who.id_n != key.id.n ||
        stored.n - sizeof who < key.tenant.n + key.id.n ||
        stored.n - sizeof who - key.tenant.n - key.id.n != who.bytes_n ||
        !sv_eq((struct sv){p, who.tenant_n}, key.tenant) ||
        !sv_eq((struct sv){p + who.tenant_n, who.id_n}, key.id))
        return false;
    out->generation = who.generation;
    out->version = who.version;
    out->bytes = (struct sv){p + who.tenant_n + who.id_n, who.bytes_n};
    return true;
}

/* A whole value of this key, or none. */
static bool look(struct cache_memory *m, struct request_ctx *ctx, struct cache_key key,
                 const struct cache_note *note, struct cache_value *out)
{
    const int64_t now = clock_mono_us();
    struct arena_mark mark = arena_get_mark(ctx->arena);
    struct cache_value value;
    struct sv stored;
    int64_t until;
    if (!memory_find(m->table, note, now, ctx->arena, &stored, &until))
        return false;
    value.ttl_ms = (until - now) / 1000;
    if (!memory_decode(stored, key, &value)) {
        arena_rewind(ctx->arena, mark);
        cache_count_mismatch(&m->mismatches, "memory", key);
        return false;
    }
    *out = value;
    return true;
}

/* Under what was noted before value was read. */
static void keep(struct cache_memory *m, struct request_ctx *ctx, struct cache_key key,
                 const struct cache_note *note, const struct cache_value *value)
{
    struct arena_mark mark = arena_get_mark(ctx->arena);
    struct sv stored;
    if (!note->usable || value->ttl_ms <= 0 || value->bytes.n > m->value_max)
        return;
    /* No clock runs for 100 years: the sum stays a number. */
    int64_t ttl_ms =
        value->ttl_ms < INT64_C(3155760000000) ? value->ttl_ms : INT64_C(3155760000000);
    if (memory_encode(ctx->arena, key, value, &stored))
        (void)memory_store(m->table, m->self, note, stored, clock_mono_us() + ttl_ms * 1000);
    arena_rewind(ctx->arena, mark);
}

static bool memory_read(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                        struct cache_value *out, struct cache_ticket *ticket)
{
    struct cache_memory *m = self_of(t);
    ticket->note = memory_note(m->table, key, clock_mono_us());
    ticket->usable = ticket->note.usable;
    return look(m, ctx, key, &ticket->note, out);
}

static void memory_fill(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                        struct cache_ticket *ticket, const struct cache_value *value)
{
    struct cache_memory *m = self_of(t);
    keep(m, ctx, key, &ticket->note, value);
}

static void memory_fence(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                         struct cache_fence *fence)
{
    struct cache_memory *m = self_of(t);
    fence->note = memory_note(m->table, key, clock_mono_us());
    fence->had = look(m, ctx, key, &fence->note, &fence->old);
}

/* The epoch is raised whatever became of the write. The value is kept only if this writer alone has
 * raised it since its fence: of two, it is not known here which one committed last. */
static void memory_settle(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                          struct cache_fence *fence, const struct cache_value *value)
{
    struct cache_memory *m = self_of(t);
    struct cache_note note = fence->note;
    if (fence->in_doubt)
        memory_bar(m->table, note.hash, clock_mono_us() + (int64_t)m->fence_ms * 1000);
    uint64_t was = memory_raise(m->table, note.hash);
    bool alone = was == note.epoch;
    note.epoch = was + 1;
    if (alone && value && !fence->in_doubt)
        keep(m, ctx, key, &note, value);
}

static void memory_status(struct cache_tier *t, struct cache_status *out)
{
    struct cache_memory *m = self_of(t);
    out->memory_bytes = m->table->n_stripes * sizeof(struct memory_stripe);
    out->memory_used = memory_used(m->table);
    out->mismatches += atomic_load(&m->mismatches);
}

static void memory_poll(struct cache_tier *t)
{
    (void)t;
}

static void memory_close(struct cache_tier *t)
{
    free(self_of(t));
}

static const struct cache_tier_ops memory_ops = {
    .name = "memory",
    .metric = METRICS_MEMORY,
    .at_once = true,
    .read = memory_read,
    .fill = memory_fill,
    .fence = memory_fence,
    .settle = memory_settle,
    .status = memory_status,
    .poll = memory_poll,
    .close = memory_close,
};

struct cache_tier *cache_memory_open(const struct cache_settings *settings, struct memory_table *t)
{
    struct cache_memory *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->tier.ops = &memory_ops;
    m->table = t;
    m->self = getpid();
    m->fence_ms = settings->fence_ms > 0 ? settings->fence_ms : 1;
    m->value_max = settings->value_max;
    memory_bar_ms(t, m->fence_ms);
    return &m->tier;
}
