/* SPDX-License-Identifier: MIT */
/* parley check: one line for each thing that the service needs, and what is wrong with it. */
#include "cli_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parley/auth/auth.h"
#include "parley/db/migrate.h"

/* keepalive_time in nginx/parley.conf. An installation may use another. */
enum { NGINX_KEEPALIVE_S = 15 };

static const char configuration[] = "configuration";

/* A line, or an element of an array: name, ok and message. */
static void PRINTF_LIKE(4, 5)
    add_check(struct output *o, bool ok, const char *name, const char *fmt, ...)
{
    char message[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    if (!o->json)
        printf("%s: %s\n", name, message);
    json_write_object_open(&o->writer);
    output_text(o, NULL, "name", sv_from(name), NULL);
    json_put_bool(&o->writer, "ok", ok);
    output_text(o, NULL, "message", sv_from(message), NULL);
    json_write_object_close(&o->writer);
    if (!ok && o->status != EXIT_MISCONFIGURED)
        o->status = name == configuration ? EXIT_MISCONFIGURED : EXIT_FAULT;
}

/* Of a socket or the pid file. path NULL, or TCP: nothing. */
static void check_directory(struct output *o, const char *name, const char *path, bool of_socket)
{
    char copy[PATH_MAX];
    struct stat st;
    if (!path || *path != '/')
        return;
    snprintf(copy, sizeof copy, "%s", path);
    const char *dir = dirname(copy);
    const bool good = access(dir, W_OK | X_OK) == 0;
    if (good && of_socket && lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        add_check(o, false, name, "%s: a file of that name exists and is no socket", path);
    else
        add_check(o, good, name, "directory %s: %s", dir, good ? "ok" : strerror(errno));
}

static void check_server(struct output *o, struct command_context *c)
{
    static const struct db_stmt about = {
        "check_server", "SELECT current_setting('server_version') AS version,"
                        " session_user::text AS login,"
                        " current_setting('max_connections')::int AS max_connections,"
                        " current_setting('fsync') = 'on' AS fsync,"
                        " current_setting('synchronous_commit') AS synchronous_commit,"
                        " " DB_OWNS_TABLES " AS owns"
                        " FROM pg_roles u WHERE u.rolname = session_user"};
    const struct config *cfg = c->cfg;
    struct db_status status;
    struct db_rows rows;
    if (db_query(c->db, &c->ctx, DB_READ, &about, NULL, 0, &rows, NULL) != ERR_NONE ||
        rows.count != 1) {
        add_check(o, false, "PostgreSQL", "%s", command_cause(c, c->ctx.err.err));
        return;
    }
    db_status(c->db, &status);
    const struct sv version = db_get_text(&rows, 0, db_column(&rows, "version"));
    const struct sv login = db_get_text(&rows, 0, db_column(&rows, "login"));
    const struct sv commit = db_get_text(&rows, 0, db_column(&rows, "synchronous_commit"));
    const int64_t max = db_get_i64(&rows, 0, db_column(&rows, "max_connections"));
    const int64_t workers = (int64_t)server_workers(cfg), sum = 2 * workers * cfg->pool_max;
    add_check(o, true, "PostgreSQL", "ok, version %.*s, login %.*s, schema version %d",
              SV_ARG(version), SV_ARG(login), status.schema_version);
    if (db_get_bool(&rows, 0, db_column(&rows, "owns")))
        add_check(o, true, "PostgreSQL login", "warning: " DB_OWNER_SERVES);
    add_check(o, true, "PostgreSQL connections",
              "%" PRId64 " workers x %" PRId64 ", twice while they are replaced = %" PRId64
              " of max_connections %" PRId64 "%s",
              workers, cfg->pool_max, sum, max,
              sum < max ? "" : "; the pools will be made smaller");
    add_check(o, true, "PostgreSQL durability", "synchronous_commit %.*s, fsync %s", SV_ARG(commit),
              db_get_bool(&rows, 0, db_column(&rows, "fsync"))
                  ? "on"
                  : "off: what was acknowledged may be lost with the machine");
}

/* The servers of DATABASE_URL, as the connection found them: it asked all. */
static void check_servers(struct output *o, struct command_context *c)
{
    struct db_status s;
    db_status(c->db, &s);
    for (int i = 0; i < s.n_servers; i++) {
        const struct db_server *server = &s.servers[i];
        if (server->state == DB_SERVER_PRIMARY)
            add_check(o, true, "PostgreSQL server",
                      "%s: primary, timeline %d, %s, statements are %s", server->name,
                      server->timeline, s.pooled ? "through a pooler" : "direct",
                      s.pooled || !c->cfg->prepare ? "not prepared" : "prepared");
        else if (server->state == DB_SERVER_FORMER_PRIMARY)
            add_check(o, true, "PostgreSQL server",
                      "%s: warning: a former primary, timeline %d, which still accepts writes: "
                      "it is not used",
                      server->name, server->timeline);
        else
            add_check(o, true, "PostgreSQL server", "%s: %s", server->name,
                      server->state == DB_SERVER_STANDBY ? "standby"
                                                         : "warning: it does not answer");
    }
}

static void check_keys(struct output *o, struct command_context *c)
{
    int64_t keys;
    if (auth_key_count(c->db, &c->ctx, &keys) != ERR_NONE)
        add_check(o, false, "API keys", "%s", command_cause(c, c->ctx.err.err));
    else
        add_check(o, true, "API keys", "%" PRId64 " live%s", keys,
                  keys > 0 ? ""
                           : "; no request is accepted before `parley key create --tenant NAME`");
}

static void check_search(struct output *o, struct command_context *c)
{
    static const struct db_stmt state = {"check_search", "SELECT complete FROM search_state"};
    struct db_rows rows;
    if (db_query(c->db, &c->ctx, DB_READ, &state, NULL, 0, &rows, NULL) != ERR_NONE)
        add_check(o, false, "search", "%s", command_cause(c, c->ctx.err.err));
    else
        add_check(o, true, "search", "%s",
                  rows.count == 0            ? "warning: no index: run `parley search build`"
                  : db_get_bool(&rows, 0, 0) ? "ok"
                                             : "not complete: see `parley search build`");
}

static void check_postgres(struct output *o, const struct config *cfg)
{
    struct command_context c = {.cfg = cfg};
    char why[320];
    if (cfg->database_url && !command_connect(&c, cfg->database_url, true, why, sizeof why)) {
        add_check(o, false, "PostgreSQL", "%s", why);
    } else if (cfg->database_url) {
        check_server(o, &c);
        check_servers(o, &c);
        if (cfg->auth_keys)
            check_keys(o, &c);
        if (cfg->search)
            check_search(o, &c);
        command_disconnect(&c);
    }
    if (!cfg->database_admin_url || !cfg->database_admin_url[0])
        return;
    if (!command_connect(&c, command_admin_url(cfg), false, why, sizeof why)) {
        add_check(o, false, "PostgreSQL owner", "%s", why);
        return;
    }
    add_check(o, true, "PostgreSQL owner", "ok");
    command_disconnect(&c);
}

static void check_redis(struct output *o, const struct config *cfg)
{
    struct cache_status status = {.redis = CACHE_DOWN, .reason = "out of memory"};
    if (!cfg->redis_url)
        return;
    const struct cache_settings settings = cache_settings_from(cfg);
    struct cache *cache = cache_open(&settings, NULL);
    if (cache) {
        cache_probe(cache);
        cache_status(cache, &status);
        cache_close(cache);
    }
    const bool up = status.redis == CACHE_UP, denied = strstr(status.reason, "NOPERM");
    add_check(o, status.redis != CACHE_DOWN, "Redis", "%s%s",
              status.redis == CACHE_OFF ? "none is configured"
              : up                      ? "ok, "
              : status.reason[0]        ? status.reason
                                        : "no answer",
              up       ? status.endpoint
              : denied ? "; the user needs +set +get +del ~parley:*, and with Sentinels +role"
                       : "");
    if (status.redis_unencrypted)
        add_check(o, true, "Redis network",
                  "warning: sessions leave this machine unencrypted; docs/operate/tls.md says how "
                  "stunnel encrypts them");
}

int check_run(struct command_context *c)
{
    const struct config *cfg = c->cfg;
    struct output *o = &c->out;
    char why[512] = "ok";
    output_begin(c);
    json_put_array(&o->writer, "checks");
    const bool faulty = *c->faults;
    for (char *fault; (fault = strsep(&c->faults, "\n"));)
        add_check(o, !faulty, configuration, "%s", faulty ? fault : "ok");
    const bool enough = descriptors_enough(cfg, why, sizeof why);
    add_check(o, enough, "open files", "%s", why);
    add_check(o, true, "draining",
              "%" PRId64 " s; nginx's keepalive_time and keepalive_timeout must be shorter%s",
              cfg->drain_s,
              cfg->drain_s <= NGINX_KEEPALIVE_S ? ", and the 15 s of nginx/parley.conf are not"
                                                : "");
    check_directory(o, "PARLEY_LISTEN", cfg->listen, true);
    check_directory(o, "PARLEY_ADMIN", cfg->admin, true);
    check_directory(o, "PARLEY_HEALTH", cfg->health, true);
    if (cfg->listen && *cfg->listen != '/') { /* that of a path is beside it */
        pidfile_path(cfg->listen, why);
        check_directory(o, "pid file", why, false);
    }
    check_postgres(o, cfg);
    check_redis(o, cfg);
    json_write_array_close(&o->writer);
    json_put_bool(&o->writer, "ok", o->status == EXIT_GOOD);
    const int status = output_finish(c);
    return o->status != EXIT_GOOD ? o->status : status;
}
