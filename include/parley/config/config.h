/*
 * Configuration: one table in config.c of name, type, default, bounds and help. It is the source
 * of --help, of docs/reference/configuration.md (make check-docs compares them) and of every check.
 * Values come from the environment, or from a file of NAME=value lines, the environment winning.
 * Immutable after config_load.
 */
#ifndef PARLEY_CONFIG_CONFIG_H
#define PARLEY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "parley/base/arena.h"

struct config {
    const char *file; /* as given to config_load, borrowed */
    const char *database_url;
    const char *database_admin_url; /* the owner of the tables; empty: database_url names it */
    const char *redis_url;
    const char *listen; /* PARLEY_LISTEN: path of the FastCGI socket */
    const char *admin;  /* PARLEY_ADMIN: path of the operations socket */
    int64_t workers;    /* PARLEY_WORKERS; 0: one a core */
    int64_t threads;    /* PARLEY_THREADS */
    int64_t pool_min, pool_max;
    int64_t session_ttl; /* seconds */
    int64_t max_body;    /* bytes */
    int64_t cache_s;
    int64_t memory;     /* bytes */
    bool hosts_one;     /* PARLEY_HOSTS=one */
    bool auth_keys;     /* PARLEY_AUTH=keys */
    int64_t keys_stale; /* seconds */
    /* Bounds; 0: none. */
    int64_t tenant_requests, tenant_sessions;
    bool prepare; /* PARLEY_PREPARE */
    int64_t acquire_ms, statement_ms, request_ms, connect_ms, redis_ms;
    int64_t queue_ms; /* PARLEY_QUEUE_MS; 0: no request is refused for having waited */
    int64_t slow_ms;  /* PARLEY_SLOW_MS */
    int64_t pool_idle, pool_lifetime; /* seconds */
    int64_t drain_s;
    int64_t recycle;     /* requests; 0: never */
    int64_t page_bytes;  /* largest page of messages */
    int64_t items_max;   /* PARLEY_ITEMS: of one request of OpenAI's clients */
    int64_t sweep_s;     /* pause between two passes of the sweeper; 0: none */
    struct arena *texts; /* owned: strings that were given */
};

/* Fills *c from file (NULL: none) and the environment. On faults: ERR_INVALID and one line for each
 * in why, without a newline at the end, that names the variable, what it holds and what it may
 * hold; *c is then empty. Unknown PARLEY_… variables are faults too: a misspelt name must not be
 * silently ignored; those that earlier versions had are named with what replaces them. */
MUSTCHECK enum err config_load(struct config *c, const char *file, char *why, size_t why_n);
void config_free(struct config *c);

void config_help(FILE *out);     /* the variables, for --help */
void config_markdown(FILE *out); /* the table of docs/reference/configuration.md */
/* Gives each variable that can hold no secret: its text, or NULL and its number. */
void config_each(const struct config *c,
                 void (*each)(void *arg, const char *name, const char *text, int64_t number),
                 void *arg);
/* Each variable and its value in force, passwords in URLs masked. */
void config_print(const struct config *c, FILE *out);
/* A copy of url with its password replaced by ***; malloc'd, NULL without memory. */
char *config_mask_url(const char *url);

#endif
