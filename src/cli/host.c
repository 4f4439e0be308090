/* SPDX-License-Identifier: MIT */
/* parley host: the hosts that share the database. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/api/api.h"

/* STALE_MIN: a running host is seen every 2 s. */
enum { FORGET_MS = 3000, STALE_MIN = 10, STALE_MAX = 315360000 };

/* The table has another order. */
static void put_host(struct output *o, const void *row)
{
    const struct db_host *h = row;
    char seen[32];
    snprintf(seen, sizeof seen, "%" PRId64 " s", h->seen_ago_us > 0 ? h->seen_ago_us / 1000000 : 0);
    api_put_host(&o->writer, h);
    output_text(o, "ID", NULL, sv_from(h->id), NULL);
    output_text(o, "MODE", NULL, h->alone ? SV("one") : SV("many"), NULL);
    output_number(o, "WORKERS", NULL, h->workers, NULL);
    output_number(o, "SEEN", NULL, 0, seen);
    output_text(o, "VERSION", NULL, sv_from(h->version), NULL);
    output_text(o, "ADDRESS", NULL, sv_from(h->address), NULL);
}

int host_list_run(struct command_context *c)
{
    struct db_host *hosts = NULL;
    size_t n = 0;
    if (!command_connect_owner(c))
        return EXIT_FAULT;
    const enum err e = db_hosts_list(c->db, &c->ctx, &hosts, &n);
    return output_list(c, e, "hosts", hosts, n, sizeof *hosts, put_host);
}

/* Exactly one of the two. */
static int read_selection(const struct command_context *c, struct sv *id, int64_t *stale_s)
{
    const char *stale = c->options.stale;
    *id = c->argument ? sv_from(c->argument) : SV_NONE;
    *stale_s = 0;
    if (c->argument && stale)
        return command_usage_error("host forget takes an id or --stale, and not both", NULL);
    if (stale &&
        (!sv_to_i64(sv_from(stale), stale_s) || *stale_s < STALE_MIN || *stale_s > STALE_MAX))
        return command_usage_error("--stale must be 10 to 315360000 seconds, and is ", stale);
    if (!stale &&
        (id->n != DB_HOSTS_ID_LEN || strspn(id->p, "0123456789abcdef") != DB_HOSTS_ID_LEN))
        return command_usage_error("the id of a host has 32 hexadecimal digits, unlike ",
                                   c->argument);
    return EXIT_GOOD;
}

int host_forget_run(struct command_context *c)
{
    struct sv id;
    int64_t stale_s, removed = 0, alive = 0;
    const int status = read_selection(c, &id, &stale_s);
    if (status != EXIT_GOOD)
        return status;
    if (!command_connect_owner(c))
        return EXIT_FAULT;
    c->ctx.deadline = deadline_in_ms(c->cfg->statement_ms + FORGET_MS);
    enum err e = db_hosts_forget(c->db, &c->ctx, id, stale_s, &removed, &alive);
    if (e == ERR_NOT_FOUND)
        ctx_fault(&c->ctx, e, "there is no host %s", c->argument);
    else if (e == ERR_NONE && alive > 0)
        e = ctx_fault(&c->ctx, ERR_CONFLICT,
                      "%" PRId64 " removed; %" PRId64 " kept, running: stop the service there, "
                      "which removes its registration",
                      removed, alive);
    else if (e == ERR_NONE)
        fprintf(stderr, "parley: %" PRId64 " removed\n", removed);
    return command_finish(c, e);
}
