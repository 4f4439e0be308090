/* SPDX-License-Identifier: MIT */
/* parley key, parley tenant. What is for a program goes to stdout, words for people to stderr. When
 * a command ends, every worker knows what it has changed. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/auth/auth.h"
#include "parley/base/clock.h"

/* "2026-11-23T21:50:00Z", or a word for 0. */
static void show_time(int64_t wall_us, const char *zero, char out[CLOCK_RFC3339_LEN + 1])
{
    if (wall_us == 0) {
        snprintf(out, CLOCK_RFC3339_LEN + 1, "%s", zero);
        return;
    }
    clock_rfc3339(wall_us, out);
    memcpy(strchr(out, '.'), "Z", 2);
}

/* "90d", "12h", "30m", "45s": seconds. */
static bool parse_lifetime(const char *text, int64_t *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    struct sv number = sv_from(text);
    if (number.n < 2)
        return false;
    number.n--;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (number.p[number.n] == units[i].unit && sv_to_i64(number, out) && *out >= 1 &&
            *out <= 3650 * INT64_C(86400) / units[i].seconds) {
            *out *= units[i].seconds;
            return true;
        }
    return false;
}

int key_create_run(struct command_work *w)
{
    struct auth_key key;
    int64_t lives_s = 0;
    char secret[AUTH_KEY_LEN + 1], until[CLOCK_RFC3339_LEN + 1];
    const struct sv tenant = sv_from(w->given[OPTION_TENANT]);
    const struct sv name = w->given[OPTION_NAME] ? sv_from(w->given[OPTION_NAME]) : SV("");
    if (!tenant.p)
        return cli_wrong("key create needs --tenant NAME", NULL);
    if (!auth_tenant_valid(tenant))
        return cli_wrong("--tenant must be 1 to 64 of A-Z a-z 0-9 . _ -, and is ", tenant.p);
    if (!auth_name_valid(name))
        return cli_wrong("--name must be up to 100 characters of UTF-8 without control characters",
                         NULL);
    if (w->given[OPTION_EXPIRES] && !parse_lifetime(w->given[OPTION_EXPIRES], &lives_s))
        return cli_wrong("--expires must be a time such as 90d, 12h, 30m or 45s, up to 3650d, and "
                         "is ",
                         w->given[OPTION_EXPIRES]);
    if (!command_begin(w, 0))
        return EXIT_FAULT;
    enum err e = auth_key_create(w->db, &w->ctx, tenant, name, lives_s, secret, &key);
    if (e == ERR_NONE) {
        printf("%s\n", secret);
        show_time(key.expires_at, "it is revoked", until);
        /* Nobody has it then. */
        if (fflush(stdout) != 0)
            e = ctx_fault(&w->ctx, ERR_INTERNAL, "key %.*s could not be written; revoke it",
                          SV_ARG(key.id));
        else
            fprintf(stderr, "parley: key %.*s for tenant %s, until %s; it is shown this once\n",
                    SV_ARG(key.id), tenant.p, until);
    }
    const int status = command_end(w, e);
    if (status == EXIT_GOOD)
        deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
    return status;
}

int key_revoke_run(struct command_work *w)
{
    struct sv id;
    if (!auth_key_id(sv_from(w->argument), &id))
        return cli_wrong("what is to be revoked is neither a key nor the id of one, which has 16 "
                         "hexadecimal digits",
                         NULL);
    if (!command_begin(w, 0))
        return EXIT_FAULT;
    enum err e = auth_key_revoke(w->db, &w->ctx, id);
    if (e == ERR_NOT_FOUND)
        ctx_fault(&w->ctx, e, "there is no key %.*s", SV_ARG(id));
    const int status = command_end(w, e);
    if (status != EXIT_GOOD)
        return status;
    deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
    fprintf(stderr, "parley: key %.*s is revoked\n", SV_ARG(id));
    return status;
}

int key_list_run(struct command_work *w)
{
    struct auth_key *keys = NULL;
    size_t n = 0, widest = sizeof("TENANT") - 1;
    if (!command_begin(w, 0))
        return EXIT_FAULT;
    const enum err e = auth_key_list(w->db, &w->ctx, &keys, &n);
    for (size_t i = 0; i < n; i++)
        widest = keys[i].tenant.n > widest ? keys[i].tenant.n : widest;
    if (e == ERR_NONE)
        printf("%-16s  %-7s  %-*s  %-20s  %-20s  %s\n", "ID", "STATE", (int)widest, "TENANT",
               "CREATED", "EXPIRES", "NAME");
    for (size_t i = 0; i < n; i++) {
        const struct auth_key *k = &keys[i];
        const bool over = k->expires_at != 0 && k->expires_at <= clock_wall_us();
        char created[CLOCK_RFC3339_LEN + 1], expires[CLOCK_RFC3339_LEN + 1];
        show_time(k->created_at, "", created);
        show_time(k->expires_at, "never", expires);
        printf("%-16.*s  %-7s  %-*.*s  %-20s  %-20s  %.*s\n", SV_ARG(k->id),
               k->revoked_at != 0 ? "revoked"
               : over             ? "expired"
                                  : "live",
               (int)widest, SV_ARG(k->tenant), created, expires, SV_ARG(k->name));
    }
    return command_end(w, e);
}

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

static void show_bound(int64_t bound, char out[24])
{
    if (bound == AUTH_BOUND_DEFAULT || bound == AUTH_BOUND_NONE)
        snprintf(out, 24, "%s", bound == AUTH_BOUND_NONE ? "none" : "default");
    else
        snprintf(out, 24, "%" PRId64, bound);
}

static void show_tenants(const struct auth_tenant *t, size_t n)
{
    size_t widest = sizeof("TENANT") - 1;
    for (size_t i = 0; i < n; i++)
        widest = t[i].tenant.n > widest ? t[i].tenant.n : widest;
    printf("%-*s  %6s  %10s  %10s\n", (int)widest, "TENANT", "KEYS", "REQUESTS", "SESSIONS");
    for (size_t i = 0; i < n; i++) {
        char requests[24], sessions[24];
        show_bound(t[i].requests, requests);
        show_bound(t[i].sessions, sessions);
        printf("%-*.*s  %6" PRId64 "  %10s  %10s\n", (int)widest, SV_ARG(t[i].tenant), t[i].keys,
               requests, sessions);
    }
}

int tenant_set_run(struct command_work *w)
{
    struct auth_tenant tenant = {.tenant = sv_from(w->argument)};
    const char *requests = w->given[OPTION_REQUESTS], *sessions = w->given[OPTION_SESSIONS];
    if (!auth_tenant_valid(tenant.tenant))
        return cli_wrong("a tenant is named by 1 to 64 of A-Z a-z 0-9 . _ -, and not by ",
                         w->argument);
    if (!requests && !sessions)
        return cli_wrong("tenant set needs --requests or --sessions", NULL);
    if (!parse_bound(requests, AUTH_REQUESTS_MAX, &tenant.requests))
        return cli_wrong("--requests must be 1 to 1000000, none or default, and is ", requests);
    if (!parse_bound(sessions, AUTH_SESSIONS_MAX, &tenant.sessions))
        return cli_wrong("--sessions must be 1 to 1000000000, none or default, and is ", sessions);
    if (!command_begin(w, 0))
        return EXIT_FAULT;
    const enum err e = auth_tenant_set(w->db, &w->ctx, &tenant);
    if (e == ERR_NONE) {
        deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
        show_tenants(&tenant, 1);
    }
    return command_end(w, e);
}

int tenant_list_run(struct command_work *w)
{
    struct auth_tenant *tenants = NULL;
    size_t n = 0;
    if (!command_begin(w, 0))
        return EXIT_FAULT;
    const enum err e = auth_tenant_list(w->db, &w->ctx, &tenants, &n);
    if (e == ERR_NONE)
        show_tenants(tenants, n);
    return command_end(w, e);
}
