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

struct config {
    const char *file; /* as given to config_load, borrowed */
    const char *database_url;
    const char *database_admin_url; /* as the owner of the tables; empty: database_url */
    const char *redis_url;
    /* Sockets: a path or tcp://ADDRESS:PORT. */
    const char *listen; /* PARLEY_LISTEN: FastCGI */
    const char *admin;  /* PARLEY_ADMIN: FastCGI, for operations */
    const char *health; /* PARLEY_HEALTH: HTTP, for operations; empty: none */
    /* PARLEY_LISTEN_ALLOW, PARLEY_OPERATIONS_ALLOW: networks, as for net_allows. */
    const char *listen_allow, *operations_allow;
    int64_t workers; /* PARLEY_WORKERS; 0: one for each two cores, rounded up */
    int64_t threads; /* PARLEY_THREADS */
    int64_t pool_min, pool_max;
    int64_t session_ttl; /* seconds */
    int64_t max_body;    /* bytes */
    int64_t max_state;   /* bytes, of a user's state */
    int64_t body_memory; /* PARLEY_BODY_MEMORY, bytes; see CONFIG_BODY_COPIES */
    int64_t cache_s;     /* PARLEY_CACHE_SECONDS */
    int64_t memory;      /* bytes */
    bool hosts_one;      /* PARLEY_HOSTS=one */
    bool auth_keys;      /* PARLEY_AUTH=keys */
    int64_t keys_stale;  /* seconds */
    /* Bounds; 0: none. */
    int64_t tenant_requests, tenant_sessions, session_messages, metrics_tenants;
    bool prepare; /* PARLEY_PREPARE */
    int64_t acquire_ms, statement_ms, request_ms, connect_ms, redis_ms;
    int64_t queue_ms;                 /* PARLEY_QUEUE_MS; 0: PARLEY_REQUEST_MS */
    int64_t slow_ms;                  /* PARLEY_SLOW_MS */
    const char *log_file;             /* "": standard error */
    bool log_debug;                   /* PARLEY_LOG=debug */
    int64_t pool_idle, pool_lifetime; /* seconds */
    int64_t drain_s;                  /* PARLEY_DRAIN */
    int64_t recycle;                  /* requests; 0: never */
    int64_t page_bytes;               /* largest page of messages */
    bool search;                      /* PARLEY_SEARCH=on */
    bool known_roles;                 /* PARLEY_ROLES=known */
    int64_t items_max;                /* PARLEY_ITEMS: of one request of OpenAI's clients */
    const char *cors_origins; /* "*", or origins separated by spaces or commas; empty: none */
    int64_t sweep_s;          /* pause between two passes of the sweeper; 0: none */
    struct arena *texts;      /* owned: strings that were given */
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
