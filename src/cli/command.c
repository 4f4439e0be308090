/* SPDX-License-Identifier: MIT */
/* A command's connection to PostgreSQL, and what it says on stderr. */
#include "cli_internal.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "parley/auth/auth.h"
#include "parley/base/names.h"
#include "parley/db/migrate.h"
#include "parley/session/users.h"

enum { POLL_MS = 20, STEP_MARGIN_MS = 1000, ARENA_LIMIT = 1024 * 1024 * 1024 };

void command_say(const char *fmt, ...)
{
    char line[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    utf8_make_printable(line, 0, strlen(line));
    fprintf(stderr, "parley: %s\n", line);
}

int command_unwritten(int reason)
{
    command_say("the output could not be written: %s", strerror(reason));
    return EXIT_FAULT;
}

int command_usage_error(const char *what, const char *value)
{
    fprintf(stderr, "parley: %s%s; see parley --help\n", what, value ? value : "");
    return EXIT_MISCONFIGURED;
}

const char *command_admin_url(const struct config *cfg)
{
    return cfg->database_admin_url[0] ? cfg->database_admin_url : cfg->database_url;
}

void command_disconnect(struct command_context *c)
{
    sessions_close(c->sessions);
    db_close(c->db);
    arena_destroy(c->arena);
}

bool command_connect(struct command_context *c, const char *url, bool serves, char *why, size_t n)
{
    const struct config *cfg = c->cfg;
    const struct deadline end = deadline_in_ms(cfg->connect_ms + cfg->statement_ms);
    struct db_status status = {.state = DB_STARTING, .reason = "out of memory"};
    struct db_settings settings = db_settings_from(cfg);
    settings.owner = !serves;
    settings.app_name = "parley command";
    settings.url = url;
    settings.url_name = settings.url == cfg->database_url ? "DATABASE_URL" : "DATABASE_ADMIN_URL";
    settings.pool_min = settings.pool_max = settings.workers = 1;
    c->arena = arena_create(ARENA_LIMIT);
    c->db = c->arena ? db_open(&settings, NULL) : NULL;
    while (c->db && status.state == DB_STARTING && !deadline_passed(end)) {
        (void)poll(NULL, 0, POLL_MS);
        db_status(c->db, &status);
    }
    if (status.state == DB_UP) {
        ctx_init(&c->ctx, c->arena, end, SV(""), SV("command"));
        return true;
    }
    snprintf(why, n, "%s", status.reason[0] ? status.reason : "no answer in time");
    command_disconnect(c);
    return false;
}

static bool connect_or_say(struct command_context *c, const char *url)
{
    char why[320];
    const bool good = command_connect(c, url, false, why, sizeof why);
    if (!good)
        command_say("PostgreSQL: %s", why);
    return good;
}

bool command_connect_owner(struct command_context *c)
{
    return connect_or_say(c, command_admin_url(c->cfg));
}

int command_open_sessions(struct command_context *c, const char *url)
{
    const struct sessions_settings settings = {.ttl_seconds = c->cfg->session_ttl,
                                               .page_bytes = c->cfg->page_bytes};
    if (!connect_or_say(c, url))
        return EXIT_FAULT;
    c->sessions = sessions_open(&settings, c->db, NULL, NULL);
    return c->sessions ? EXIT_GOOD : command_finish(c, ctx_nomem(&c->ctx));
}

enum err command_check_tenant(struct command_context *c, const char *tenant)
{
    struct auth_tenant *tenants;
    size_t n;
    bool left, live;
    c->ctx.tenant = sv_from(tenant);
    TRY(auth_tenant_list(c->db, &c->ctx, false, &tenants, &n));
    const struct names names = {tenants, n, sizeof *tenants};
    if (names_index(&names, c->ctx.tenant) < n)
        return ERR_NONE;
    TRY(session_tenant_inspect(c->sessions, &c->ctx, &left, &live));
    const char *nearest = names_nearest(&names, c->ctx.tenant);
    return left ? ERR_NONE
                : ctx_fault(&c->ctx, ERR_NOT_FOUND, "there is no tenant %s%s%s%s", tenant,
                            nearest ? "; did you mean " : "", nearest ? nearest : "",
                            nearest ? "?" : "");
}

bool command_parse_lifetime(const char *text, int64_t *out)
{
    static const char units[] = "dhms";
    static const int64_t seconds[] = {86400, 3600, 60, 1};
    struct sv number = sv_from(text);
    const char *unit = number.n > 1 ? strchr(units, text[--number.n]) : NULL;
    const int64_t each_s = unit ? seconds[unit - units] : 1;
    if (!unit || !sv_to_i64(number, out) || *out < 1 || *out > 3650 * INT64_C(86400) / each_s)
        return false;
    *out *= each_s;
    return true;
}

void command_renew_deadline(struct command_context *c)
{
    c->ctx.deadline = deadline_in_ms(c->cfg->statement_ms + STEP_MARGIN_MS);
}

void command_begin_step(struct command_context *c)
{
    arena_reset(c->arena);
    ctx_clear_error(&c->ctx);
    command_renew_deadline(c);
}

const char *command_cause(const struct command_context *c, enum err e)
{
    return c->ctx.err.cause[0] ? c->ctx.err.cause : err_name(e);
}

int command_finish(struct command_context *c, enum err e)
{
    if (e != ERR_NONE) {
        const char *cause = command_cause(c, e);
        const char *more = "";
        if (strstr(cause, "postgres 42501"))
            more = "; " DB_NEEDS_OWNER ", as for parley migrate";
        else if (e == ERR_OUTCOME_UNKNOWN)
            more = "; whether it was done is not known";
        command_say("%s%s", cause, more);
    }
    command_disconnect(c);
    return e == ERR_NONE ? EXIT_GOOD : EXIT_FAULT;
}
