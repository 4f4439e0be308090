/* SPDX-License-Identifier: MIT */
/* parley tenant: the bounds of tenants. A change is known to every worker when the command ends. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/auth/auth.h"
#include "parley/base/names.h"
#include "parley/obs/log.h"
#include "parley/session/users.h"

enum { REGISTER_MS = 10000, LOCKED_MS = 10000, PAUSE_MS = 50 };

static bool parse_bound(const char *text, int64_t max, int64_t *out)
{
    *out = AUTH_BOUND_KEPT;
    if (!text)
        return true;
    if (strcmp(text, "none") == 0)
        *out = AUTH_BOUND_NONE;
    else if (strcmp(text, "default") == 0)
        *out = AUTH_BOUND_DEFAULT;
    else
        return sv_to_i64(sv_from(text), out) && *out >= 1 && *out <= max;
    return true;
}

/* As tenant set takes it: a number, "none" or "default". */
static void put_bound(struct output *o, const char *title, const char *name, int64_t n)
{
    output_number(o, title, name, n, n > 0 ? NULL : n == AUTH_BOUND_NONE ? "none" : "default");
}

static void put_bounds(struct output *o, const void *row)
{
    const struct auth_tenant *t = row;
    output_text(o, "TENANT", "tenant", t->tenant, NULL);
    output_number(o, "KEYS", "keys", t->keys, NULL);
    put_bound(o, "REQUESTS", "requests", t->requests);
    put_bound(o, "SESSIONS", "sessions", t->sessions);
}

static void put_tenant(struct output *o, const void *row)
{
    const struct auth_tenant *t = row;
    put_bounds(o, row);
    output_number(o, "OPEN", "open_sessions", t->open, NULL);
    output_number(o, "MESSAGES", "messages", t->messages, NULL);
    output_number(o, "BYTES", "bytes", t->bytes, NULL);
}

/* ---- one tenant ---- */

/* Connects, and makes it the tenant of c->ctx. known: it must be there. */
static int open_tenant(struct command_context *c, bool known)
{
    const struct sv name = sv_from(c->argument);
    if (!auth_tenant_valid(name))
        return command_usage_error("a tenant's name must be 1 to 64 of A-Z a-z 0-9 . _ -, and is ",
                                   c->argument);
    const int status = command_open_sessions(c, command_admin_url(c->cfg));
    if (status != EXIT_GOOD)
        return status;
    c->ctx.tenant = name;
    const enum err e = known ? command_check_tenant(c, c->argument) : ERR_NONE;
    return e == ERR_NONE ? EXIT_GOOD : command_finish(c, e);
}

/* Refuses a tenant with sessions or users' states, without --erase. */
static enum err check_erasable(struct command_context *c, const char *why)
{
    bool left, live;
    TRY(session_tenant_inspect(c->sessions, &c->ctx, &left, &live));
    return live && !c->options.erase
               ? ctx_fault(&c->ctx, ERR_CONFLICT, "tenant %s has data%s; --erase deletes it",
                           c->argument, why)
               : ERR_NONE;
}

/* Until nothing is left. */
static enum err erase_all(struct command_context *c, struct session_erasure *done)
{
    const struct arena_mark mark = arena_get_mark(c->arena);
    struct deadline give_up = deadline_in_ms(LOCKED_MS);
    for (int64_t before = 0, now = 0;; before = now) {
        bool left, live;
        arena_rewind(c->arena, mark);
        command_renew_deadline(c);
        TRY(session_tenant_inspect(c->sessions, &c->ctx, &left, &live));
        if (!left)
            return ERR_NONE;
        TRY(session_tenant_erase(c->sessions, &c->ctx, done));
        now = done->sessions + done->messages + done->keys;
        if (now > before)
            give_up = deadline_in_ms(LOCKED_MS);
        else if (deadline_passed(give_up))
            return ctx_fault(&c->ctx, ERR_BUSY,
                             "rows stay locked, so only a part is erased: run the command again");
        else
            deadline_wait(deadline_in_ms(PAUSE_MS));
    }
}

/* The keys stay, revoked, until all else is gone: a command that was killed can be repeated.
 * Requests that were accepted before may still write until their time has passed. */
static enum err delete_tenant(struct command_context *c, const struct db_hosts_shared *host)
{
    struct session_erasure done = {.sessions = 0};
    int64_t keys;
    for (const struct deadline end = deadline_in_ms(REGISTER_MS); !db_hosts_may_write(host);)
        if (deadline_passed(end))
            return ctx_fault(&c->ctx, ERR_UNAVAILABLE, "this command could not register as a host");
        else
            deadline_wait(deadline_in_ms(PAUSE_MS));
    command_renew_deadline(c);
    TRY(check_erasable(c, ""));
    TRY(auth_tenant_revoke(c->db, &c->ctx));
    deadline_wait(deadline_in_ms(AUTH_HOLDS_MS + c->cfg->request_ms));
    command_renew_deadline(c);
    enum err e = check_erasable(c, " since its keys were revoked");
    if (e == ERR_NONE)
        e = erase_all(c, &done);
    command_renew_deadline(c);
    if (e == ERR_NONE)
        e = auth_tenant_delete(c->db, &c->ctx, &keys);
    const int64_t counts[] = {done.sessions, done.messages, done.keys};
    log_audit(&c->ctx, c->cfg->log_file, "tenant_delete", e == ERR_NONE, SV_NONE, counts);
    TRY(e);
    fprintf(stderr, "parley: tenant %s is deleted: %" PRId64 " keys, %" PRId64 " sessions\n",
            c->argument, keys, done.sessions);
    return ERR_NONE;
}

int tenant_delete_run(struct command_context *c)
{
    const int status = open_tenant(c, true);
    if (status != EXIT_GOOD)
        return status;
    enum err e = check_erasable(c, "");
    /* As a host: one that is alone answers from its memory, which this does not clear. */
    struct db_hosts_shared *shared = db_hosts_shared_map(false, PARLEY_VERSION);
    const struct db_hosts_settings settings = {
        .shared = shared, .workers = 1, .statement_ms = (int)c->cfg->statement_ms};
    struct db_hosts *host = shared && e == ERR_NONE ? db_hosts_open(&settings, c->db) : NULL;
    if (e == ERR_NONE)
        e = host ? delete_tenant(c, shared) : ctx_nomem(&c->ctx);
    db_hosts_close(host);
    return command_finish(c, e);
}

int tenant_set_run(struct command_context *c)
{
    struct auth_tenant tenant = {.tenant = sv_from(c->argument)};
    const char *requests = c->options.requests, *sessions = c->options.sessions;
    if (!requests && !sessions)
        return command_usage_error("tenant set needs --requests or --sessions", NULL);
    if (!parse_bound(requests, AUTH_REQUESTS_MAX, &tenant.requests))
        return command_usage_error("--requests must be 1 to 1000000, none or default, and is ",
                                   requests);
    if (!parse_bound(sessions, AUTH_SESSIONS_MAX, &tenant.sessions))
        return command_usage_error("--sessions must be 1 to 1000000000, none or default, and is ",
                                   sessions);
    const int status = open_tenant(c, !c->options.create);
    if (status != EXIT_GOOD)
        return status;
    const enum err e = auth_tenant_set(c->db, &c->ctx, &tenant);
    if (e == ERR_NONE) {
        log_audit(&c->ctx, c->cfg->log_file, "tenant_set", true, SV_NONE, NULL);
        deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
    }
    return output_list(c, e, "tenants", &tenant, 1, sizeof tenant, put_bounds);
}

int tenant_list_run(struct command_context *c)
{
    struct auth_tenant *tenants = NULL;
    size_t n = 0;
    if (!command_connect_owner(c))
        return EXIT_FAULT;
    const enum err e = auth_tenant_list(c->db, &c->ctx, true, &tenants, &n);
    return output_list(c, e, "tenants", tenants, n, sizeof *tenants, put_tenant);
}
