/* SPDX-License-Identifier: MIT */
/*
 * Configuration. One table in setting.c has the name, type, default, bounds and help of a setting;
 * --help, docs/reference/configuration.md and every check come from it. Values come from the
 * environment, else from a file of NAME=value lines. Immutable after config_load.
 */
#pragma once

#include <stdio.h>

#include "parley/base/arena.h"

/* A request holds at most so many times the size of its body (measured). A patch holds the body,
 * the old context, the new context, and libpq's buffer or the answer. */
enum { CONFIG_BODY_COPIES = 4 };

/* The table in setting.c says what each setting means, and its unit. A bool is true if the value is
 * the second of the setting's two choices. */
struct config {
    const char *file;    /* as given to config_load, borrowed */
    struct arena *texts; /* owned: strings that were given */
    const char *database_url, *database_admin_url, *redis_url;
    const char *listen, *admin, *health, *listen_allow, *operations_allow;
    int64_t workers, threads, pool_min, pool_max, pool_idle, pool_lifetime;
    int64_t session_ttl, max_body, body_memory, max_state, page_bytes, items_max;
    bool known_roles, hosts_one, auth_keys, search, prepare, log_debug;
    int64_t memory, cache_s, keys_stale;
    int64_t tenant_requests, tenant_sessions, session_messages, metrics_tenants;
    const char *cors_origins, *log_file;
    int64_t request_ms, queue_ms, slow_ms, acquire_ms, statement_ms, connect_ms, redis_ms;
    int64_t drain_s, recycle, sweep_s;
};

/* Fills *c from file (NULL: none) and the environment. ERR_INVALID: why has a line for each fault,
 * which names the variable, its value and the values allowed; no newline at the end. *c has the
 * settings that are right; one that is wrong has its default, or is NULL if it is a text. In either
 * case *c is to be freed. An unknown PARLEY_… variable is a fault, since it may be misspelt; for
 * one that was removed, why says what replaces it. */
MUSTCHECK enum err config_load(struct config *c, const char *file, char *why, size_t why_n);
void config_free(struct config *c);

void config_help(FILE *out); /* for --help and docs/reference/configuration.md */
/* Calls each for each setting, with its text, or with NULL and its number. URLs are left out unless
 * urls is true, and then their passwords are masked. */
typedef void config_each_fn(void *arg, const char *name, const char *text, int64_t number);
void config_each(const struct config *c, bool urls, config_each_fn *each, void *arg);
