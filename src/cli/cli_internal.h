/* SPDX-License-Identifier: MIT */
/*
 * What the files of cli/ share. main.c reads the command line and the configuration and runs one
 * command: check.c, key.c, tenant.c, host.c, search.c, or one of its own. Commands connect to
 * PostgreSQL with command.c and print lists and JSON with output.c.
 */
#pragma once

#include "parley/api/json_tree.h"
#include "parley/db/db.h"
#include "parley/server/server.h"

/* NULL: it was not given; "" if it has no value. */
struct command_options {
    const char *to, *json, *tenant, *name, *expires, *requests, *sessions, *stale, *create, *erase;
    const char *binary, *scope, *user, *signing, *from, *dry_run, *resume;
    const char *config, *help, *version; /* of every command */
};

/* What a command was given, and what it uses. */
struct command_context {
    char **words; /* the name of the command, one or two words, and its argument; then NULL */
    const char *argument; /* the word after the name; NULL: none */
    struct command_options options;
    const struct config *cfg; /* of struct command.runs_misconfigured: see config_load */
    char *faults;             /* of the configuration, a line each; "": none */
    struct json_tree out;     /* what the command prints */
    /* From command_connect to command_finish: one connection. */
    struct arena *arena;
    struct db *db;
    struct sessions *sessions; /* of commands that open it; else NULL */
    struct request_ctx ctx;
};

/* ---- command.c ---- */

/* Prints one line on stderr and returns EXIT_MISCONFIGURED. value may be NULL. */
int command_usage_error(const char *what, const char *value);
/* The URL that logs in as the owner of the tables. */
const char *command_admin_url(const struct config *cfg);
/* Connects. serves: the checks and warnings of a host apply, so the login may not own the tables.
 * False: why holds one line. The deadline for all that follows is connect_ms + statement_ms;
 * command_renew_deadline sets another. */
MUSTCHECK bool command_connect(struct command_context *c, const char *url, bool serves, char *why,
                               size_t n);
/* Connects as the owner of the tables. False: it has printed why. */
MUSTCHECK bool command_connect_owner(struct command_context *c);
/* Connects, and opens the session service. EXIT_GOOD, or the exit status after it has printed why.
 */
MUSTCHECK int command_open_sessions(struct command_context *c, const char *url);
/* Sets the tenant of c->ctx, which borrows the name. ERR_NOT_FOUND: it has no key, no limit and
 * no session. */
MUSTCHECK enum err command_check_tenant(struct command_context *c, const char *tenant);
/* Reads "90d", "12h", "30m" or "45s", up to 3650 days. */
MUSTCHECK bool command_parse_lifetime(const char *text, int64_t *seconds);
#define COMMAND_LIFETIME_RULE \
    "--expires must be a time such as 90d, 12h, 30m or 45s, up to 3650d, and is "
/* For the next of several steps: time for one statement. */
void command_renew_deadline(struct command_context *c);
/* The same, and drops the memory and the error of the step before. */
void command_begin_step(struct command_context *c);
void command_disconnect(struct command_context *c);
/* The cause of e, one line. */
const char *command_cause(const struct command_context *c, enum err e);
/* Prints the cause of e, unless it is ERR_NONE, and disconnects. Returns the exit status. */
int command_finish(struct command_context *c, enum err e);

/* ---- output.c ---- */

/* What a command prints is a JSON tree: printed as it is, or its rows as a table. */
enum { OUTPUT_COLUMNS_MAX = 12 }; /* further columns are left out */
struct output_column {
    const char *title, *member;
    const char *null_text; /* for null */
    const char *unit;      /* after each value; NULL: none */
    bool right;            /* aligned right */
};

/* Bytes that are not UTF-8 become "?". */
void output_text(struct json_tree *t, struct json_object *in, const char *name, struct sv text);
/* As "2026-11-23T21:50:00Z"; 0 becomes null. */
void output_time(struct json_tree *t, struct json_object *in, const char *name, int64_t wall_us);
/* Unless e is an error, prints c->out as JSON if c has --json, else the array rows as a table of n
 * columns (NULL: nothing). Then command_finish with e, or with ERR_NOMEM: nothing was printed. */
int output_finish(struct command_context *c, enum err e, const struct json_object *rows,
                  const struct output_column *columns, size_t n);

/* ---- commands ---- */

int check_run(struct command_context *c);
int key_create_run(struct command_context *c);
int key_list_run(struct command_context *c);
int key_revoke_run(struct command_context *c);
int tenant_set_run(struct command_context *c);
int tenant_delete_run(struct command_context *c);
int tenant_list_run(struct command_context *c);
int host_list_run(struct command_context *c);
int host_forget_run(struct command_context *c);
int search_build_run(struct command_context *c);
int search_drop_run(struct command_context *c);
int export_run(struct command_context *c);
int import_run(struct command_context *c);
