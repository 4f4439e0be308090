/* SPDX-License-Identifier: MIT */
/* The registration of this host: each worker's thread, and the statements on the table hosts. The
 * thread of one worker polls; the others take over when it ends. The times in the table are by
 * PostgreSQL's clock. They decide only what is shown, and how many hosts share the connections. */
#include "hosts_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db_internal.h"

#include "parley/obs/log.h"

enum {
    ARENA_LIMIT = 256 * 1024,
    POLL_MS = 500,      /* a second poll fits in before the shortcut ends */
    REGISTER_MS = 3000, /* a commit, also on a slow disk */
    REFRESH_MS = 300,   /* the next poll waits for it */
    YIELD_MS = 300,     /* after a poll that failed: another worker may succeed */
    REMOVE_MS = 2000,
    LATE_MARGIN_MS = 1000
};
#define OVERDUE_US INT64_C(1000000) /* see REPLICATION */
static const int64_t refresh_us = 2000000, replication_us = 1000000;
/* After so long without an answered poll, the polling worker may be stopped. */
static const int64_t silent_us = 600000;

/* The columns of a row. */
/* clang-format off */
#define COLUMNS                                                                                    \
    "h.host, h.address, h.version, h.workers, h.alone,"                                            \
    " (extract(epoch FROM clock_timestamp() - h.seen_at) * 1000000)::bigint AS seen_ago"

/* What runs for longer than a second: each commit waits for a standby for an instant. Without $3
 * nothing is read (HAVING becomes a one-time filter of the scans, ON would not). */
#define REPLICATION                                                                                \
    " LEFT JOIN (SELECT count(*) FILTER (WHERE wait_event = 'SyncRep') AS commits_waiting,"        \
    "   count(*) AS overdue FROM pg_stat_activity WHERE usename = current_user"                    \
    "   AND state = 'active' AND query_start < clock_timestamp() - interval '1 second'"            \
    "  HAVING $3) o ON true"                                                                       \
    " LEFT JOIN (SELECT count(*) AS standbys, CASE WHEN count(state) = count(*)"                   \
    "   THEN count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) ELSE -1 END AS synchronous," \
    "   left(current_setting('synchronous_standby_names'), 120) AS names"                          \
    "  FROM pg_stat_replication HAVING $3) r ON true"

/* Not on a standby: it does not know of a host that registered just now. */
static const struct db_stmt poll_stmt = {
    "hosts_poll",
    "SELECT a.version AS keys_version,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS pg_started,"
    " count(h.host) OVER () AS registered,"
    " count(*) FILTER (WHERE h.seen_at > now() - interval '10 seconds' AND h.host <> $1) OVER ()"
    "   AS live,"
    " coalesce(bool_or(h.alone) FILTER (WHERE h.host <> $1) OVER (), false) AS others_alone,"
    " coalesce(h.host = $1, false) AS self, coalesce(h.seen_at > to_timestamp(0), false) AS stays, "
    COLUMNS ", o.*, r.*"
    " FROM auth_state a LEFT JOIN hosts h ON true" REPLICATION " WHERE NOT pg_is_in_recovery()"
    " ORDER BY h.host = $1 DESC NULLS LAST, h.seen_at DESC LIMIT $2"};

static const struct db_stmt register_stmt = {
    "hosts_register",
    "INSERT INTO hosts (host, address, version, workers, alone) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (host) DO UPDATE SET address = excluded.address, version = excluded.version,"
    " workers = excluded.workers, alone = excluded.alone, seen_at = now()"};

/* It may be lost: it does not wait for a disk or a standby. */
static const struct db_stmt refresh_stmt = {
    "hosts_refresh",
    "UPDATE hosts SET seen_at = now(), workers = $2"
    " WHERE host = $1 AND set_config('synchronous_commit', 'off', true) = 'off'"};

static const struct db_stmt remove_stmt = {"hosts_remove", "DELETE FROM hosts WHERE host = $1"};

static const struct db_stmt list_stmt = {
    "hosts_list", "SELECT " COLUMNS " FROM hosts h ORDER BY h.seen_at DESC, h.host"};

static const struct db_stmt mark_stmt = {
    "hosts_doubt",
    "UPDATE hosts SET seen_at = to_timestamp(0)"
    " WHERE host = $1 OR ($1 IS NULL AND seen_at < now() - $2 * interval '1 second')"
    " RETURNING host"};

static const struct db_stmt forget_stmt = {
    "hosts_forget", "DELETE FROM hosts WHERE host = ANY ($1) AND seen_at = to_timestamp(0)"};
/* clang-format on */

static void copy_text(const struct db_rows *r, int row, const char *column, char *out, size_t n)
{
    const struct sv v = db_get_text(r, row, db_column(r, column));
    snprintf(out, n, "%.*s", SV_ARG(v));
}

static void read_host(const struct db_rows *r, int row, struct db_host *h)
{
    memset(h, 0, sizeof(*h));
    copy_text(r, row, "host", h->id, sizeof(h->id));
    copy_text(r, row, "address", h->address, sizeof(h->address));
    copy_text(r, row, "version", h->version, sizeof(h->version));
    h->workers = db_get_i64(r, row, db_column(r, "workers"));
    h->seen_ago_us = db_get_i64(r, row, db_column(r, "seen_ago"));
    h->alone = db_get_bool(r, row, db_column(r, "alone"));
}

/* Logs one line when commits begin to wait, and one when none waits any more. */
static void read_replication(const struct db_rows *r, struct db_replication *found)
{
    const int64_t waited = found->commits_waiting;
    found->commits_waiting = db_get_i64(r, 0, db_column(r, "commits_waiting"));
    found->overdue = db_get_i64(r, 0, db_column(r, "overdue"));
    found->standbys = db_get_i64(r, 0, db_column(r, "standbys"));
    found->synchronous = db_get_i64(r, 0, db_column(r, "synchronous"));
    copy_text(r, 0, "names", found->names, sizeof(found->names));
    if ((found->commits_waiting > 0) != (waited > 0))
        log_say(waited > 0 ? LOG_INFO : LOG_WARN, waited > 0 ? "commits_go_on" : "commits_wait",
                "%lld commits wait for a synchronous standby", (long long)found->commits_waiting);
}

static enum err query_hosts(struct db *db, struct request_ctx *ctx, const struct db_hosts_shared *s,
                            struct db_hosts_found *out)
{
    struct db_rows r;
    struct db_hosts_found last;
    db_hosts_last_poll(s, &last);
    *out = (struct db_hosts_found){.sent_us = clock_boot_us(),
                                   .timeline = atomic_load(&s->servers.highest),
                                   .replication = last.replication};
    const bool due = out->sent_us >= out->replication.sent_us + replication_us;
    const struct db_param params[] = {db_text(sv_from(s->id)), db_i64(DB_HOSTS_SHOWN_MAX),
                                      db_bool(due)};
    TRY(db_query(db, ctx, DB_READ, &poll_stmt, params, ARRAY_LEN(params), &r, NULL));
    if (r.count == 0)
        return ctx_fault(ctx, ERR_UNAVAILABLE, "this PostgreSQL is a standby");
    out->keys_version = db_get_i64(&r, 0, db_column(&r, "keys_version"));
    out->pg_started_us = db_get_i64(&r, 0, db_column(&r, "pg_started"));
    out->others_alone = db_get_bool(&r, 0, db_column(&r, "others_alone"));
    out->registered = db_get_i64(&r, 0, db_column(&r, "registered"));
    const bool has_row = db_get_bool(&r, 0, db_column(&r, "self"));
    out->self = has_row && db_get_bool(&r, 0, db_column(&r, "stays"));
    out->others = out->registered - (has_row ? 1 : 0);
    out->live = 1 + db_get_i64(&r, 0, db_column(&r, "live"));
    out->n = out->registered > 0 ? (size_t)r.count : 0;
    for (size_t i = 0; i < out->n; i++)
        read_host(&r, (int)i, &out->table[i]);
    out->table[0].self = has_row;
    if (due) {
        out->replication.sent_us = out->sent_us;
        read_replication(&r, &out->replication);
    }
    return ERR_NONE;
}

struct db_hosts {
    struct db_hosts_settings set;
    struct db *db; /* borrowed */
    struct arena *arena;
    struct thread_loop thread;
    bool failing; /* used by the thread alone: see log_new_failure */
};

static bool try_to_poll(struct db_hosts_shared *s)
{
    const int rc = pthread_mutex_trylock(&s->polling);
    /* The last holder was killed. The next poll writes everything again. */
    if (rc == EOWNERDEAD)
        (void)pthread_mutex_consistent(&s->polling);
    return rc == 0 || rc == EOWNERDEAD;
}

/* One line when polls begin to fail for a reason that does not pass by itself. */
static void log_new_failure(struct db_hosts *h, const struct request_ctx *ctx, enum err e)
{
    const bool failing = e == ERR_INTERNAL || e == ERR_NOMEM;
    if (failing && !h->failing)
        log_say(LOG_ERROR, "hosts_unknown", "%s: %s", err_name(e), ctx->err.cause);
    h->failing = failing;
}

static enum err register_host(struct db_hosts *h, struct request_ctx *ctx)
{
    struct db_hosts_shared *s = h->set.shared;
    const struct db_param params[] = {db_text(sv_from(s->id)), db_text(sv_from(s->address)),
                                      db_text(sv_from(s->version)), db_i32(h->set.workers),
                                      db_bool(s->alone)};
    atomic_store(&s->has_asked, true);
    ctx->deadline = deadline_in_ms(REGISTER_MS);
    TRY(db_query(h->db, ctx, DB_WRITE, &register_stmt, params, ARRAY_LEN(params), NULL, NULL));
    ctx->deadline = deadline_in_ms(POLL_MS);
    return ERR_NONE;
}

/* Registers first if it must, and again if the registration is lost. */
static enum err poll_once(struct db_hosts *h, struct request_ctx *ctx, struct db_hosts_found *f)
{
    struct db_hosts_shared *s = h->set.shared;
    for (int tries = 0; tries < 2; tries++) {
        if (atomic_load(&s->write_from_us) == 0)
            TRY(register_host(h, ctx));
        TRY(query_hosts(h->db, ctx, s, f));
        /* This worker was stopped, and another one may have found something newer meanwhile. */
        if (clock_boot_us() >= f->sent_us + HOSTS_WAIT_US)
            return ctx_fault(ctx, ERR_TIMEOUT, "the answer is too old");
        hosts_apply(s, f, clock_boot_us(), h->set.before_alone, h->set.arg);
        if (f->self)
            return ERR_NONE;
    }
    return ctx_fault(ctx, ERR_BUSY, "the registration is being removed");
}

/* False: it failed. */
static bool poll_and_refresh(struct db_hosts *h)
{
    struct request_ctx ctx;
    struct db_hosts_found f;
    db_begin_request(&ctx, h->arena, POLL_MS, "hosts");
    const enum err e = poll_once(h, &ctx, &f);
    log_new_failure(h, &ctx, e);
    const int64_t *const seen_ago_us = &f.table[0].seen_ago_us; /* of its own row */
    if (e == ERR_NONE && (*seen_ago_us < 0 || *seen_ago_us >= refresh_us)) {
        const struct db_param params[] = {db_text(sv_from(h->set.shared->id)),
                                          db_i32(h->set.workers)};
        db_begin_request(&ctx, h->arena, REFRESH_MS, "hosts");
        /* If it fails, other hosts may count this one as silent, and enlarge their pools early. It
         * may be repeated, and goes on where writes hang: so it counts as a read. */
        (void)!db_query(h->db, &ctx, DB_READ, &refresh_stmt, params, ARRAY_LEN(params), NULL, NULL);
    }
    return e == ERR_NONE;
}

/* If the polling worker is stopped, the others still write, and must notice that the host is being
 * forgotten. */
static void check_own_row(struct db_hosts *h)
{
    struct db_hosts_shared *s = h->set.shared;
    struct request_ctx ctx;
    struct db_hosts_found f;
    db_hosts_last_poll(s, &f);
    if (atomic_load(&s->write_from_us) == 0 || clock_boot_us() < f.sent_us + silent_us)
        return;
    db_begin_request(&ctx, h->arena, POLL_MS, "hosts");
    if (query_hosts(h->db, &ctx, s, &f) == ERR_NONE && !f.self)
        hosts_unregistered(s);
}

static void *hosts_main(void *arg)
{
    struct db_hosts *h = arg;
    struct db_hosts_shared *s = h->set.shared;
    struct db_hosts_found found;
    bool polls = false;
    int64_t until_us;
    do {
        int pause_ms = HOSTS_TRY_MS;
        until_us = clock_mono_us();
        polls = polls || try_to_poll(s);
        if (polls) {
            pause_ms = HOSTS_POLL_MS;
            if (!poll_and_refresh(h)) {
                pause_ms = YIELD_MS;
                pthread_mutex_unlock(&s->polling);
                polls = false;
            }
        } else {
            check_own_row(h);
        }
        hosts_note_silence(s, clock_boot_us());
        db_hosts_last_poll(s, &found);
        db_pool_share(h->db, 0, (int)found.live);
        if (found.replication.overdue == 0)
            atomic_store(&h->db->finished_us, found.replication.sent_us - OVERDUE_US);
        until_us += pause_ms * INT64_C(1000);
    } while (thread_loop_pause(&h->thread, until_us));
    if (polls)
        pthread_mutex_unlock(&s->polling);
    return NULL;
}

static void dispose(struct db_hosts *h)
{
    arena_destroy(h->arena);
    free(h);
}

struct db_hosts *db_hosts_open(const struct db_hosts_settings *settings, struct db *db)
{
    struct db_hosts *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->set = *settings;
    h->db = db;
    h->arena = arena_create(ARENA_LIMIT);
    /* Before this worker checks whether it may write: see remove_registration. */
    atomic_store(&settings->shared->workers[settings->slot], getpid());
    if (h->arena && thread_loop_start(&h->thread, hosts_main, h))
        return h;
    atomic_store(&settings->shared->workers[settings->slot], 0);
    dispose(h);
    return NULL;
}

/* Waits until no statement of a killed worker can be under way: other hosts take this one for gone
 * afterwards. A worker that may not wait so long is killed, and the registration stays. */
static void await_late_commits(const struct db_hosts *h)
{
    const int64_t unclean_us = atomic_load(&h->set.shared->unclean_us);
    const int64_t late_us = (h->set.statement_ms + LATE_MARGIN_MS) * INT64_C(1000);
    const int64_t left_us = unclean_us == 0 ? 0 : unclean_us + late_us - clock_boot_us();
    deadline_wait(deadline_in_ms(left_us > 0 ? left_us / 1000 + 1 : 0));
}

/* By the last worker. A new one takes its slot, then checks whether it may write. This does it in
 * the other order: so either the new one finds that it must register, or this finds its slot taken.
 */
static void remove_registration(struct db_hosts *h)
{
    struct db_hosts_shared *s = h->set.shared;
    struct request_ctx ctx;
    await_late_commits(h);
    if (hosts_any_worker(s) || !try_to_poll(s))
        return; /* it is that worker's now */
    hosts_unregistered(s);
    if (!hosts_any_worker(s)) {
        const struct db_param id = db_text(sv_from(s->id));
        db_begin_request(&ctx, h->arena, REMOVE_MS, "hosts");
        const enum err e = db_query(h->db, &ctx, DB_WRITE, &remove_stmt, &id, 1, NULL, NULL);
        if (e != ERR_NONE)
            log_say(LOG_WARN, "registration_stays", "%s: %s; parley host forget %s", err_name(e),
                    ctx.err.cause, s->id);
    }
    pthread_mutex_unlock(&s->polling);
}

void db_hosts_close(struct db_hosts *h)
{
    if (!h)
        return;
    thread_loop_stop(&h->thread);
    atomic_store(&h->set.shared->workers[h->set.slot], 0);
    if (atomic_load(&h->set.shared->has_asked) && !hosts_any_worker(h->set.shared))
        remove_registration(h);
    dispose(h);
}

/* ---- for an operator's commands ---- */

enum err db_hosts_list(struct db *db, struct request_ctx *ctx, struct db_host **out, size_t *n)
{
    struct db_rows r;
    TRY(db_query(db, ctx, DB_READ, &list_stmt, NULL, 0, &r, NULL));
    *n = (size_t)r.count;
    *out = arena_alloc(ctx->arena, (*n + 1) * sizeof(**out));
    if (!*out)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < *n; i++)
        read_host(&r, (int)i, &(*out)[i]);
    return ERR_NONE;
}

/* In two steps. A running host finds its row marked (seen_at = 0) and registers again, as at a
 * start. One that does not within HOSTS_WAIT_US no longer has the shortcut. */
enum err db_hosts_forget(struct db *db, struct request_ctx *ctx, struct sv id, int64_t stale_s,
                         int64_t *removed, int64_t *alive)
{
    const struct db_param which[] = {db_text(id), db_i64(stale_s)};
    struct db_param marked;
    struct db_rows r;
    *removed = *alive = 0;
    TRY(db_query(db, ctx, DB_WRITE, &mark_stmt, which, ARRAY_LEN(which), &r, NULL));
    const int n = r.count;
    if (n == 0)
        return id.p ? ERR_NOT_FOUND : ERR_NONE;
    struct sv *ids = arena_alloc(ctx->arena, (size_t)n * sizeof(*ids));
    if (!ids)
        return ctx_nomem(ctx);
    for (int i = 0; i < n; i++)
        ids[i] = db_get_text(&r, i, 0);
    TRY(db_text_array(ctx, ids, (size_t)n, &marked));
    deadline_wait(deadline_in_ms(HOSTS_WAIT_US / 1000));
    TRY(db_query(db, ctx, DB_WRITE, &forget_stmt, &marked, 1, &r, NULL));
    *removed = r.count;
    *alive = n - r.count;
    return ERR_NONE;
}
