/* SPDX-License-Identifier: MIT */
/* All valid keys and the bounds of their tenants, as they were at one instant. A thread confirms
 * the snapshot, and loads it again when any of them has changed. */
#include "auth_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* WRITE_MS: a write delays the next confirmation of the keys, so it must end well before
 * AUTH_VALID_US. WRITE_MAX: keys in one write. */
enum {
    EVERY_MS = 200,
    CHECK_MS = 1000,
    LOAD_MS = 5000,
    POLL_OLD_MS = 400,
    WRITE_MS = 300,
    WRITE_MAX = 1000,
    WRITE_AGAIN_MS = 10000
};
#define HOUR_US INT64_C(3600000000)

static const struct db_stmt read_version = {"auth_version", "SELECT version FROM auth_state"};

/* At least one row, the version's, even if there is no key. */
static const struct db_stmt load_keys = {
    "auth_load",
    "SELECT s.version, k.id, k.hash, coalesce(k.expires_at, 'infinity') AS expires_at,"
    " k.scope = 'read' AS read_only, k.signing, concat_ws(' ', k.tenant, k.user_id) AS text,"
    " sum(octet_length(concat_ws(' ', k.tenant, k.user_id))) OVER () AS texts,"
    " coalesce(t.requests_per_second, $1) AS requests, coalesce(t.sessions_max, $2) AS sessions"
    " FROM auth_state s LEFT JOIN (api_keys k LEFT JOIN tenants t ON t.tenant = k.tenant)"
    " ON k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
    " ORDER BY k.id"};

/* Returns how many rows were older before the statement; 0: there is nothing left to write. Skips a
 * locked row, which most likely another worker writes; the next poll tries again. A crash may lose
 * what is written: the statement does not wait for a disk or a standby. */
static const struct db_stmt write_uses = {
    "auth_uses",
    "WITH u AS (SELECT unnest($1::text[]) AS id, to_timestamp(unnest($2::bigint[]) * 3600) AS at),"
    " l AS MATERIALIZED (SELECT k.id, u.at FROM u JOIN api_keys k ON k.id = u.id"
    " WHERE k.last_used_at IS NULL OR k.last_used_at < u.at FOR NO KEY UPDATE OF k SKIP LOCKED),"
    " w AS (UPDATE api_keys k SET last_used_at = l.at FROM l WHERE k.id = l.id"
    " AND set_config('synchronous_commit', 'off', true) = 'off')"
    " SELECT count(*) AS older FROM u JOIN api_keys k ON k.id = u.id"
    " WHERE k.last_used_at IS NULL OR k.last_used_at < u.at"};

/* *room: where to store the key's text; is moved behind it. */
static bool read_key(const struct db_rows *rows, int row, struct snapshot_key *out, char **room)
{
    const struct sv hash = db_get_text(rows, row, db_column(rows, "hash"));
    const struct sv text = db_get_text(rows, row, db_column(rows, "text"));
    if (!key_id_parse(db_get_text(rows, row, db_column(rows, "id")), &out->id) ||
        hash.n != KEY_HASH_LEN)
        return false;
    out->expires_at = db_get_time(rows, row, db_column(rows, "expires_at"));
    out->requests = db_get_i64(rows, row, db_column(rows, "requests"));
    out->sessions = db_get_i64(rows, row, db_column(rows, "sessions"));
    memcpy(out->hash, hash.p, KEY_HASH_LEN);
    out->read_only = db_get_bool(rows, row, db_column(rows, "read_only"));
    out->signing = db_get_bool(rows, row, db_column(rows, "signing"));
    out->text = (struct sv){memcpy(*room, text.p, text.n), text.n};
    *room += text.n;
    return true;
}

static int compare_id(const void *id, const void *key)
{
    const uint64_t a = *(const uint64_t *)id, b = ((const struct snapshot_key *)key)->id;
    return (a > b) - (a < b);
}

const struct snapshot_key *snapshot_find(const struct snapshot *s, uint64_t id)
{
    return bsearch(&id, s->keys, s->n, sizeof(s->keys[0]), compare_id);
}

/* ---- the thread ---- */

/* Of the keys that are in both. The lock is held, so no reader notes a use meanwhile. */
static void copy_key_uses(struct snapshot *fresh, const struct snapshot *old)
{
    for (size_t i = 0, k = 0; old && i < fresh->n; i++) {
        while (k < old->n && old->keys[k].id < fresh->keys[i].id)
            k++;
        if (k == old->n || old->keys[k].id != fresh->keys[i].id)
            continue;
        atomic_store(&fresh->use[i].hour, atomic_load(&old->use[k].hour));
        fresh->use[i].written = old->use[k].written;
    }
}

static void replace_snapshot(struct auth *a, struct snapshot *fresh)
{
    struct log_line l;
    log_begin(&l, LOG_INFO, "keys_loaded");
    log_int(&l, "keys", (int64_t)fresh->n);
    log_end(&l);
    pthread_rwlock_wrlock(&a->swap);
    struct snapshot *old = a->current;
    copy_key_uses(fresh, old);
    a->current = fresh;
    pthread_rwlock_unlock(&a->swap);
    free(old);
}

/* One statement, so that keys and version are of one instant. */
static enum err load(struct auth *a, struct request_ctx *ctx)
{
    const struct db_param defaults[] = {db_i64(a->set.requests), db_i64(a->set.sessions)};
    struct db_rows rows;
    TRY(db_query(a->db, ctx, DB_READ, &load_keys, defaults, ARRAY_LEN(defaults), &rows, NULL));
    if (rows.count == 0)
        return ctx_fault(ctx, ERR_INTERNAL, "auth_state has no row");
    const size_t n = db_is_null(&rows, 0, db_column(&rows, "id")) ? 0 : (size_t)rows.count;
    struct snapshot *s = calloc(1, sizeof(*s) + n * (sizeof(s->keys[0]) + sizeof(*s->use)) +
                                       (size_t)db_get_i64(&rows, 0, db_column(&rows, "texts")));
    if (!s)
        return ctx_fault(ctx, ERR_NOMEM, "no memory for %zu keys", n);
    s->use = (struct key_use *)(void *)&s->keys[n];
    char *room = (char *)&s->use[n];
    s->version = db_get_i64(&rows, 0, db_column(&rows, "version"));
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        if (!read_key(&rows, (int)i, &s->keys[i], &room)) {
            free(s);
            return ctx_fault(ctx, ERR_INTERNAL, "a row of api_keys is malformed");
        }
    }
    replace_snapshot(a, s);
    return ERR_NONE;
}

/* What the host's last poll found, if the poll is recent; else a statement asks. The poll may not
 * be older than the statement that confirmed the snapshot last: that statement may have seen a
 * newer version. *asked: when the statement was sent that gave the answer. */
static enum err current_version(struct auth *a, struct request_ctx *ctx, int64_t *version,
                                int64_t *asked)
{
    const int64_t last = atomic_load(&a->valid_until) - AUTH_VALID_US, now = clock_boot_us();
    struct db_hosts_found found;
    struct db_rows rows;
    db_hosts_last_poll(a->set.hosts, &found);
    *version = found.keys_version;
    *asked = found.sent_us;
    if (*asked != 0 && *asked >= last && *asked >= now - POLL_OLD_MS * INT64_C(1000))
        return ERR_NONE;
    *asked = now;
    TRY(db_query(a->db, ctx, DB_READ, &read_version, NULL, 0, &rows, NULL));
    *version = rows.count == 1 ? db_get_i64(&rows, 0, 0) : 0;
    return ERR_NONE;
}

/* Only this thread changes a->current, so it reads it without the lock. */
static enum err refresh(struct auth *a, struct request_ctx *ctx)
{
    int64_t version = 0, asked = 0;
    if (a->current)
        TRY(current_version(a, ctx, &version, &asked));
    if (!a->current || version != a->current->version) {
        asked = clock_boot_us();
        ctx->deadline = deadline_in_ms(LOAD_MS);
        TRY(load(a, ctx));
    }
    atomic_store(&a->valid_until, asked + AUTH_VALID_US);
    return ERR_NONE;
}

void snapshot_note_use(struct auth *a, uint64_t id, int64_t now_us)
{
    pthread_rwlock_rdlock(&a->swap);
    const struct snapshot_key *key = snapshot_find(a->current, id);
    _Atomic int64_t *hour = key ? &a->current->use[key - a->current->keys].hour : NULL;
    if (hour && atomic_load_explicit(hour, memory_order_relaxed) < now_us / HOUR_US) {
        atomic_store(hour, now_us / HOUR_US);
        atomic_store(&a->used, true);
    }
    pthread_rwlock_unlock(&a->swap);
}

static void write_key_uses(struct auth *a, struct request_ctx *ctx)
{
    size_t at[WRITE_MAX], n = 0; /* at: the indexes of the keys whose hour is to be written */
    int64_t hours[WRITE_MAX];
    struct sv ids[WRITE_MAX];
    struct db_param p[2];
    struct db_rows rows;
    if (!a->current || clock_mono_us() < a->write_from_us || !atomic_exchange(&a->used, false))
        return;
    for (size_t i = 0; i < a->current->n && n < WRITE_MAX; i++) {
        hours[n] = atomic_load(&a->current->use[i].hour);
        if (hours[n] <= a->current->use[i].written)
            continue;
        ids[n] = arena_printf(a->arena, "%016" PRIx64, a->current->keys[i].id);
        at[n++] = i;
    }
    if (n == 0)
        return;
    ctx_init(ctx, a->arena, deadline_in_ms(WRITE_MS), SV(""), SV("keys"));
    enum err e = db_text_array(ctx, ids, n, &p[0]);
    if (e == ERR_NONE)
        e = db_i64_array(ctx, hours, n, &p[1]);
    if (e == ERR_NONE)
        e = db_query(a->db, ctx, DB_WRITE, &write_uses, p, ARRAY_LEN(p), &rows, NULL);
    const bool all = e == ERR_NONE && db_get_i64(&rows, 0, 0) == 0;
    for (size_t i = 0; all && i < n; i++)
        a->current->use[at[i]].written = hours[i];
    atomic_store(&a->used, true); /* to look again */
    if (e != ERR_NONE)
        a->write_from_us = clock_mono_us() + WRITE_AGAIN_MS * INT64_C(1000);
}

/* One line when it begins to fail. That PostgreSQL is away or busy is logged elsewhere. */
static void log_new_failure(struct auth *a, const struct request_ctx *ctx, enum err e)
{
    const bool failing = e == ERR_INTERNAL || e == ERR_NOMEM;
    if (atomic_exchange(&a->failing, failing) != failing && failing)
        log_say(LOG_ERROR, "keys_unconfirmed", "%s: %s", err_name(e), ctx->err.cause);
}

void *snapshot_main(void *arg)
{
    struct auth *a = arg;
    struct request_ctx ctx;
    int64_t began;
    do {
        began = clock_mono_us();
        ctx_init(&ctx, a->arena, deadline_in_ms(CHECK_MS), SV(""), SV("keys"));
        ctx.urgent = true;
        log_new_failure(a, &ctx, refresh(a, &ctx));
        write_key_uses(a, &ctx);
        arena_reset(a->arena);
    } while (thread_loop_pause(&a->refresher, began + EVERY_MS * INT64_C(1000)));
    write_key_uses(a, &ctx);
    return NULL;
}
