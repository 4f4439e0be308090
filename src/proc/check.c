/* SPDX-License-Identifier: MIT */
/* parley check: one line for each thing that the service needs, and what is wrong with it. */
#include "proc_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/cache/cache.h"
#include "parley/db/db.h"
#include "parley/db/migrate.h"

enum { POLL_MS = 20, ARENA_LIMIT = 64 * 1024 };

/* Where the lines go. */
struct report {
    bool quiet;
    char *why; /* the first fault, if anybody wants it */
    size_t why_n;
};

__attribute__((format(printf, 3, 4))) static void say(const struct report *r, bool good,
                                                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!r->quiet) {
        vprintf(fmt, ap);
        putchar('\n');
    } else if (!good && !r->why[0]) {
        vsnprintf(r->why, r->why_n, fmt, ap);
    }
    va_end(ap);
}

static bool check_directory(const char *path)
{
    char copy[sizeof((struct listener *)0)->path];
    snprintf(copy, sizeof copy, "%s", path);
    const char *dir = dirname(copy);
    bool good = access(dir, W_OK | X_OK) == 0;
    printf("socket directory %s: %s\n", dir, good ? "ok" : strerror(errno));
    return good;
}

/* Whatever the database is, it is asked as the service would ask it, but without changing it. */
static struct db *open_db(const struct config *cfg)
{
    const struct db_settings settings = {
        .url = cfg->database_url,
        .role = cfg->db_role,
        .app_name = "parley check",
        .pool_min = 1,
        .pool_max = 1,
        .acquire_ms = (int)cfg->acquire_ms,
        .statement_ms = (int)cfg->statement_ms,
        .connect_ms = (int)cfg->connect_ms,
        .idle_s = 60,
        .lifetime_s = 60,
        .workers = 1,
        .schema_version = db_schema_version(),
        .prepare = cfg->prepare,
    };
    return db_open(&settings, NULL);
}

static void say_connections(const struct report *r, const struct config *cfg, int64_t server_max)
{
    int64_t workers = (int64_t)supervisor_workers(cfg), sum = 2 * workers * cfg->pool_max;
    say(r, true,
        "PostgreSQL connections: %" PRId64 " workers x %" PRId64
        ", twice while they are replaced = %" PRId64 " of max_connections %" PRId64 "%s",
        workers, cfg->pool_max, sum, server_max,
        sum < server_max ? "" : "; the pools will be made smaller");
}

static bool ask_server(const struct report *r, const struct config *cfg, struct db *db,
                       struct request_ctx *ctx)
{
    static const struct db_stmt about = {
        "check_server", "SELECT current_setting('server_version') AS version,"
                        " current_user::text AS role,"
                        " current_setting('max_connections')::int AS max_connections"};
    struct db_rows rows;
    if (db_query(db, ctx, DB_READ, &about, NULL, 0, &rows, NULL) != ERR_NONE || rows.count != 1) {
        say(r, false, "PostgreSQL: %s",
            ctx->err.cause[0] ? ctx->err.cause : err_name(ctx->err.err));
        return false;
    }
    struct sv version = db_get_text(&rows, 0, db_column(&rows, "version"));
    struct sv role = db_get_text(&rows, 0, db_column(&rows, "role"));
    say(r, true, "PostgreSQL: ok, version %.*s, role %.*s, schema version %d", SV_ARG(version),
        SV_ARG(role), db_schema_version());
    say_connections(r, cfg, db_get_i64(&rows, 0, db_column(&rows, "max_connections")));
    return true;
}

static bool check_db(const struct report *r, const struct config *cfg)
{
    struct db_status status;
    struct deadline end = deadline_in_ms(cfg->connect_ms + cfg->statement_ms);
    bool good = false;
    struct arena *arena = arena_create(ARENA_LIMIT);
    struct db *db = open_db(cfg);
    if (!arena || !db) {
        say(r, false, "PostgreSQL: out of memory");
        goto out;
    }
    db_status(db, &status);
    while (status.state == DB_STARTING && !deadline_passed(end)) {
        (void)poll(NULL, 0, POLL_MS);
        db_status(db, &status);
    }
    if (status.state == DB_UP) {
        struct request_ctx ctx;
        ctx_init(&ctx, arena, end, SV("default"), SV("check"));
        good = ask_server(r, cfg, db, &ctx);
    } else {
        say(r, false, "PostgreSQL: %s", status.reason[0] ? status.reason : "no answer in time");
    }
out:
    arena_destroy(arena);
    db_close(db);
    return good;
}

static bool check_redis(const struct config *cfg)
{
    const struct cache_settings settings = {.redis_url = cfg->redis_url,
                                            .redis_timeout_ms = (int)cfg->redis_ms,
                                            .fence_ms = (int)cfg->request_ms,
                                            .value_max = 1024};
    struct cache_status status;
    struct cache *cache = cache_open(&settings, NULL);
    if (!cache) {
        printf("Redis: out of memory\n");
        return false;
    }
    cache_maintain(cache);
    cache_status(cache, &status);
    cache_close(cache);
    if (status.redis == CACHE_OFF)
        printf("Redis: none is configured\n");
    else if (status.redis == CACHE_UP)
        printf("Redis: ok\n");
    else
        printf("Redis: %s\n", status.reason[0] ? status.reason : "no answer");
    return status.redis != CACHE_DOWN;
}

int check_run(const struct config *cfg)
{
    const struct report r = {.quiet = false};
    printf("configuration: ok\n");
    /* All of them, whatever the first one says. */
    bool good = check_directory(cfg->listen);
    good = check_directory(cfg->admin) && good;
    good = check_db(&r, cfg) && good;
    good = check_redis(cfg) && good;
    return good ? EXIT_GOOD : EXIT_FAULT;
}

bool check_for_reload(const struct config *cfg, char *why, size_t why_n)
{
    const struct report r = {.quiet = true, .why = why, .why_n = why_n};
    why[0] = '\0';
    return check_db(&r, cfg);
}
