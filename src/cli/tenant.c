/* SPDX-License-Identifier: MIT */
/* parley tenant: the bounds of tenants. A change is known to every worker when the command ends. */
#include "cli_internal.h"

#include <string.h>

#include "parley/auth/auth.h"
#include "parley/base/clock.h"

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
static void output_bound(struct json_tree *out, struct json_object *row, const char *name,
                         int64_t n)
{
    if (n == AUTH_BOUND_DEFAULT || n == AUTH_BOUND_NONE)
        output_text(out, row, name, n == AUTH_BOUND_NONE ? SV("none") : SV("default"));
    else
        json_tree_number(out, row, name, n);
}

/* Prints them, unless e is an error. */
static enum err print_tenants(const struct auth_tenant *t, size_t n, enum err e, bool json)
{
    static const struct output_column columns[] = {
        {.title = "TENANT", .member = "tenant"},
        {.title = "KEYS", .member = "keys", .right = true},
        {.title = "REQUESTS", .member = "requests", .right = true},
        {.title = "SESSIONS", .member = "sessions", .right = true},
    };
    struct json_tree out;
    json_tree_init(&out);
    struct json_object *rows = json_tree_array(&out, out.root, "tenants");
    for (size_t i = 0; e == ERR_NONE && i < n; i++) {
        struct json_object *row = json_tree_object(&out, rows, NULL);
        output_text(&out, row, "tenant", t[i].tenant);
        json_tree_number(&out, row, "keys", t[i].keys);
        output_bound(&out, row, "requests", t[i].requests);
        output_bound(&out, row, "sessions", t[i].sessions);
    }
    return output_end(&out, e, json, rows, columns, ARRAY_LEN(columns));
}

int tenant_set_run(struct command_context *c)
{
    struct auth_tenant tenant = {.tenant = sv_from(c->argument)};
    const char *requests = c->given[OPTION_REQUESTS], *sessions = c->given[OPTION_SESSIONS];
    if (!auth_tenant_valid(tenant.tenant))
        return command_usage_error("a tenant's name must be 1 to 64 of A-Z a-z 0-9 . _ -, and is ",
                                   c->argument);
    if (!requests && !sessions)
        return command_usage_error("tenant set needs --requests or --sessions", NULL);
    if (!parse_bound(requests, AUTH_REQUESTS_MAX, &tenant.requests))
        return command_usage_error("--requests must be 1 to 1000000, none or default, and is ",
                                   requests);
    if (!parse_bound(sessions, AUTH_SESSIONS_MAX, &tenant.sessions))
        return command_usage_error("--sessions must be 1 to 1000000000, none or default, and is ",
                                   sessions);
    if (!command_connect_owner(c, 0))
        return EXIT_FAULT;
    const enum err e = auth_tenant_set(c->db, &c->ctx, &tenant);
    if (e == ERR_NONE)
        deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
    return command_finish(c, print_tenants(&tenant, 1, e, false));
}

int tenant_list_run(struct command_context *c)
{
    struct auth_tenant *tenants = NULL;
    size_t n = 0;
    if (!command_connect_owner(c, 0))
        return EXIT_FAULT;
    const enum err e = auth_tenant_list(c->db, &c->ctx, &tenants, &n);
    return command_finish(c, print_tenants(tenants, n, e, c->given[OPTION_JSON]));
}
