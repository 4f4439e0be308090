/* SPDX-License-Identifier: MIT */
/* parley host: as the login of DATABASE_URL, which may be the owner's or one that serves. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "parley/db/hosts.h"

/* STALE_MIN: a host that lives is seen every 2 s. */
enum { FORGET_MS = 3000, STALE_MIN = 10, STALE_MAX = 315360000 };

int host_list_run(struct command_work *w)
{
    struct db_host *hosts = NULL;
    size_t n = 0;
    if (!command_begin(w, FORGET_MS))
        return EXIT_FAULT;
    const enum err e = db_hosts_list(w->db, &w->ctx, &hosts, &n);
    if (e == ERR_NONE)
        printf("%-32s  %-4s  %7s  %8s  %-10s  %s\n", "ID", "MODE", "WORKERS", "SEEN", "VERSION",
               "ADDRESS");
    for (size_t i = 0; i < n; i++) {
        const int64_t ago = hosts[i].seen_ago_us > 0 ? hosts[i].seen_ago_us / 1000000 : 0;
        printf("%s  %-4s  %7" PRId64 "  %6" PRId64 " s  %-10s  %s\n", hosts[i].id,
               hosts[i].alone ? "one" : "many", hosts[i].workers, ago, hosts[i].version,
               hosts[i].address);
    }
    return command_end(w, e);
}

/* Exactly one of the two. */
static int read_which(const struct command_work *w, struct sv *id, int64_t *stale_s)
{
    const char *stale = w->given[OPTION_STALE];
    *id = w->argument ? sv_from(w->argument) : SV_NONE;
    *stale_s = 0;
    if (w->argument && stale)
        return cli_wrong("host forget takes an id or --stale, and not both", NULL);
    if (stale &&
        (!sv_to_i64(sv_from(stale), stale_s) || *stale_s < STALE_MIN || *stale_s > STALE_MAX))
        return cli_wrong("--stale must be 10 to 315360000 seconds, and is ", stale);
    if (!stale &&
        (id->n != DB_HOSTS_ID_LEN || strspn(id->p, "0123456789abcdef") != DB_HOSTS_ID_LEN))
        return cli_wrong("the id of a host has 32 hexadecimal digits, unlike ", w->argument);
    return EXIT_GOOD;
}

int host_forget_run(struct command_work *w)
{
    struct sv id;
    int64_t stale_s, removed = 0, alive = 0;
    const int status = read_which(w, &id, &stale_s);
    if (status != EXIT_GOOD)
        return status;
    if (!command_begin(w, FORGET_MS))
        return EXIT_FAULT;
    enum err e = db_hosts_forget(w->db, &w->ctx, id, stale_s, &removed, &alive);
    if (e == ERR_NOT_FOUND)
        ctx_fault(&w->ctx, e, "there is no host %s", w->argument);
    else if (e == ERR_NONE && alive > 0)
        e = ctx_fault(&w->ctx, ERR_CONFLICT,
                      "%" PRId64 " removed; %" PRId64 " kept, alive: stop the service there, which "
                      "removes its registration",
                      removed, alive);
    else if (e == ERR_NONE)
        fprintf(stderr, "parley: %" PRId64 " removed\n", removed);
    return command_end(w, e);
}
