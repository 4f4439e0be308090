/* SPDX-License-Identifier: MIT */
/* parley check: one line for each thing that the service needs, and what is wrong with it. */
#include "cli_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parley/auth/auth.h"
#include "parley/base/clock.h"
#include "parley/cache/cache.h"
#include "parley/db/db.h"
#include "parley/db/migrate.h"

/* NGINX_KEEPALIVE_S: keepalive_time in nginx/parley.conf. What an installation has in its place
 * cannot be read from here. */
enum { POLL_MS = 20, ARENA_LIMIT = 64 * 1024 * 1024, NGINX_KEEPALIVE_S = 15 };

static bool check_directory(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const char *dir = dirname(copy);
    bool good = access(dir, W_OK | X_OK) == 0;
    printf("socket directory %s: %s\n", dir, good ? "ok" : strerror(errno));
    return good;
}

const char *admin_url(const struct config *cfg)
{
    return cfg->database_admin_url[0] ? cfg->database_admin_url : cfg->database_url;
}

static void end_work(struct command_work *w)
{
    db_close(w->db);
    arena_destroy(w->arena);
}

/* Connects as the owner of the tables or as the serving login. False: why holds the reason, one
 * line. */
static bool begin_work(struct command_work *w, bool owner, int64_t more_ms, char *why, size_t n)
{
    const struct config *cfg = w->cfg;
    const struct deadline end = deadline_in_ms(cfg->connect_ms + cfg->statement_ms + more_ms);
    struct db_status status = {.state = DB_STARTING, .reason = "out of memory"};
    struct db_settings settings = db_settings_from(cfg);
    settings.owner = owner;
    settings.app_name = owner ? "parley key" : "parley check";
    settings.url = owner ? admin_url(cfg) : cfg->database_url;
    settings.url_name = settings.url == cfg->database_url ? "DATABASE_URL" : "DATABASE_ADMIN_URL";
    settings.pool_min = settings.pool_max = settings.workers = 1;
    settings.idle_s = settings.lifetime_s = 60;
    w->arena = arena_create(ARENA_LIMIT);
    w->db = w->arena ? db_open(&settings, NULL) : NULL;
    while (w->db && status.state == DB_STARTING && !deadline_passed(end)) {
        (void)poll(NULL, 0, POLL_MS);
        db_status(w->db, &status);
    }
    if (status.state == DB_UP) {
        ctx_init(&w->ctx, w->arena, end, SV(""), SV("command"));
        return true;
    }
    snprintf(why, n, "PostgreSQL: %s", status.reason[0] ? status.reason : "no answer in time");
    end_work(w);
    return false;
}

bool command_begin(struct command_work *w, int64_t more_ms)
{
    char why[320];
    const bool good = begin_work(w, true, more_ms, why, sizeof why);
    if (!good)
        fprintf(stderr, "parley: %s\n", why);
    return good;
}

static const char *cause_of(const struct command_work *w, enum err e)
{
    return w->ctx.err.cause[0] ? w->ctx.err.cause : err_name(e);
}

int command_end(struct command_work *w, enum err e)
{
    if (e != ERR_NONE) {
        const char *cause = cause_of(w, e);
        const char *more = "";
        if (strstr(cause, "postgres 42501"))
            more = "; DATABASE_ADMIN_URL must name the login that owns the tables, as for parley "
                   "migrate";
        else if (e == ERR_OUTCOME_UNKNOWN)
            more = "; whether it was done is not known";
        fprintf(stderr, "parley: %s%s\n", cause, more);
    }
    end_work(w);
    return e == ERR_NONE ? EXIT_GOOD : EXIT_FAULT;
}

static bool ask_server(struct command_work *w, char *said, size_t n)
{
    static const struct db_stmt about = {
        "check_server", "SELECT current_setting('server_version') AS version,"
                        " session_user::text AS login,"
                        " current_setting('max_connections')::int AS max_connections,"
                        " current_setting('fsync') = 'on' AS fsync,"
                        " current_setting('synchronous_commit') AS synchronous_commit,"
                        " " DB_OWNS_TABLES " AS owns"
                        " FROM pg_roles u WHERE u.rolname = session_user"};
    const struct config *cfg = w->cfg;
    struct db_rows rows;
    if (db_query(w->db, &w->ctx, DB_READ, &about, NULL, 0, &rows, NULL) != ERR_NONE ||
        rows.count != 1) {
        snprintf(said, n, "PostgreSQL: %s", cause_of(w, w->ctx.err.err));
        return false;
    }
    struct sv version = db_get_text(&rows, 0, db_column(&rows, "version"));
    struct sv login = db_get_text(&rows, 0, db_column(&rows, "login"));
    bool owns = db_get_bool(&rows, 0, db_column(&rows, "owns"));
    int64_t max = db_get_i64(&rows, 0, db_column(&rows, "max_connections"));
    struct sv commit = db_get_text(&rows, 0, db_column(&rows, "synchronous_commit"));
    bool synced = db_get_bool(&rows, 0, db_column(&rows, "fsync"));
    int64_t workers = (int64_t)server_workers(cfg), sum = 2 * workers * cfg->pool_max;
    snprintf(said, n,
             "PostgreSQL: ok, version %.*s, login %.*s, schema version %d\n"
             "%s"
             "PostgreSQL connections: %" PRId64 " workers x %" PRId64
             ", twice while they are replaced = %" PRId64 " of max_connections %" PRId64 "%s\n"
             "PostgreSQL durability: synchronous_commit %.*s, fsync %s",
             SV_ARG(version), SV_ARG(login), db_schema_version(),
             owns ? "PostgreSQL login: warning: " DB_OWNER_SERVES "\n" : "", workers, cfg->pool_max,
             sum, max, sum < max ? "" : "; the pools will be made smaller", SV_ARG(commit),
             synced ? "on" : "off: what was acknowledged may be lost with the machine");
    return true;
}

/* A line more: how many keys there are. */
static bool ask_keys(struct command_work *w, char *said, size_t n)
{
    int64_t keys;
    const size_t at = strlen(said);
    if (auth_key_count(w->db, &w->ctx, &keys) != ERR_NONE) {
        snprintf(said + at, n - at, "\nAPI keys: %s", cause_of(w, w->ctx.err.err));
        return false;
    }
    snprintf(said + at, n - at, "\nAPI keys: %" PRId64 " live%s", keys,
             keys > 0 ? "" : "; nobody gets in before `parley key create --tenant NAME`");
    return true;
}

bool check_db(const struct config *cfg, char *said, size_t n)
{
    struct command_work w = {.cfg = cfg};
    if (!begin_work(&w, false, 0, said, n))
        return false;
    const bool good = ask_server(&w, said, n) && (!cfg->auth_keys || ask_keys(&w, said, n));
    end_work(&w);
    return good;
}

static bool check_redis(const struct config *cfg)
{
    const struct cache_settings settings = {
        .redis_url = cfg->redis_url, .redis_timeout_ms = (int)cfg->redis_ms, .value_max = 1024};
    struct cache_status status;
    struct cache *cache = cache_open(&settings, NULL);
    if (!cache) {
        printf("Redis: out of memory\n");
        return false;
    }
    cache_probe(cache);
    cache_status(cache, &status);
    cache_close(cache);
    printf("Redis: %s\n", status.redis == CACHE_OFF  ? "none is configured"
                          : status.redis == CACHE_UP ? "ok"
                          : status.reason[0]         ? status.reason
                                                     : "no answer");
    return status.redis != CACHE_DOWN;
}

int check_run(struct command_work *w)
{
    const struct config *cfg = w->cfg;
    char said[1024];
    printf("configuration: ok\n");
    descriptors_raise();
    bool good = descriptors_enough(cfg, said, sizeof said);
    printf("open files: %s\n", good ? "ok" : said);
    printf("draining: %" PRId64
           " s; nginx's keepalive_time and keepalive_timeout must be shorter%s\n",
           cfg->drain_s,
           cfg->drain_s <= NGINX_KEEPALIVE_S ? ", and the delivered 15 s would not be" : "");
    /* All of them, whatever the first one says. */
    good = check_directory(cfg->listen) && good;
    good = check_directory(cfg->admin) && good;
    good = check_db(cfg, said, sizeof said) && good;
    printf("%s\n", said);
    good = check_redis(cfg) && good;
    return good ? EXIT_GOOD : EXIT_FAULT;
}
