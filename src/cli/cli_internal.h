/* SPDX-License-Identifier: MIT */
/* What the commands share. */
#ifndef PARLEY_CLI_INTERNAL_H
#define PARLEY_CLI_INTERNAL_H

#include "parley/db/db.h"
#include "parley/server/server.h"

/* ---- cli.c ---- */

enum cli_option {
    OPTION_TO,
    OPTION_MARKDOWN,
    OPTION_TENANT,
    OPTION_NAME,
    OPTION_EXPIRES,
    OPTION_REQUESTS,
    OPTION_SESSIONS,
    OPTION_STALE,
    OPTION_CONFIG, /* from here on: of all commands */
    OPTION_HELP,
    OPTION_VERSION,
    OPTIONS
};

/* What a command was given, and what it uses. */
struct command_work {
    const struct config *cfg;
    const char *argument;       /* what stands behind the command; NULL: nothing */
    const char *given[OPTIONS]; /* NULL: it was not; "" if it has no value */
    /* From command_begin to command_end: one connection. */
    struct arena *arena;
    struct db *db;
    /* Its deadline: connect_ms + statement_ms + more_ms after command_begin. */
    struct request_ctx ctx;
};

int cli_run(int argc, char **argv);
/* One line on stderr; gives the exit status for it. value may be NULL. */
int cli_wrong(const char *what, const char *value);

/* ---- check.c ---- */

int check_run(struct command_work *w);
/* PostgreSQL alone: what `parley check` prints of it goes to said. A check_fn. */
bool check_db(const struct config *cfg, char *said, size_t n);
/* The URL that logs in as the owner of the tables. */
const char *admin_url(const struct config *cfg);
/* Connects as the owner of the tables. False: it has printed why. */
bool command_begin(struct command_work *w, int64_t more_ms);
/* Prints a line about e, unless it is ERR_NONE. Returns the exit status. */
int command_end(struct command_work *w, enum err e);

/* ---- key.c: keys and tenants, by an operator's hand ---- */

int key_create_run(struct command_work *w);
int key_list_run(struct command_work *w);
int key_revoke_run(struct command_work *w);
int tenant_set_run(struct command_work *w);
int tenant_list_run(struct command_work *w);

/* ---- host.c: the hosts that share the database ---- */

int host_list_run(struct command_work *w);
int host_forget_run(struct command_work *w);

#endif
