/* SPDX-License-Identifier: MIT */
/*
 * What the files of cli/ share. main.c reads the command line and the configuration and runs one
 * command: check.c, key.c, tenant.c, host.c, search.c, or one of its own. Commands connect to
 * PostgreSQL with command.c and print lists and JSON with output.c.
 */
#pragma once

#include "parley/db/db.h"
#include "parley/json/json_writer.h"
#include "parley/server/server.h"

/* NULL: it was not given; "" if it has no value. */
struct command_options {
    const char *to, *json, *tenant, *name, *expires, *requests, *sessions, *stale, *create, *erase;
    const char *binary, *scope, *user, *signing, *from, *dry_run, *resume;
    const char *config, *help, *version; /* of every command */
};

/* What a command prints on standard output, see output.c. */
enum { OUTPUT_COLUMNS_MAX = 12 }; /* further columns are left out */
struct output {
    bool json;                 /* --json: a document; else a table, or the command prints lines */
    struct buf text;           /* the document or the table */
    struct buf nothing;        /* a failed buf, which drops what is written */
    struct json_writer writer; /* into text with --json, else into nothing */
    int64_t now;               /* when it began */
    int status;                /* of check: the exit status so far */
    /* Of a table: where the next cell is. */
    bool measures, head;
    size_t column, columns;
    int widths[OUTPUT_COLUMNS_MAX];
};

/* What a command was given, and what it uses. */
struct command_context {
    char **argv;  /* of main */
    char **words; /* the name of the command, one or two words, and its argument; then NULL */
    const char *argument; /* the word after the name; NULL: none */
    struct command_options options;
    const struct config *cfg; /* of struct command.runs_misconfigured: see config_load */
    char *faults;             /* of the configuration, a line each; "": none */
    struct output out;
    /* From command_connect to command_finish: one connection. */
    struct arena *arena;
    struct db *db;
    struct sessions *sessions; /* of commands that open it; else NULL */
    struct request_ctx ctx;
};

/* ---- command.c ---- */

/* Prints a line on stderr, up to 4 KiB, which may hold text of a file or a client: see
 * utf8_make_printable. */
void command_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Says that standard output has failed with that errno. Returns EXIT_FAULT. */
int command_unwritten(int reason);
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

/* Begins the object of --json, unless output_list prints it. */
void output_begin(struct command_context *c);
/* A member (name NULL: none), or a cell under title (NULL: none). Bytes that are not UTF-8 become
 * "?", in a cell also control characters. null_text: the cell of an absent text, which is null in
 * JSON. */
void output_text(struct output *o, const char *title, const char *name, struct sv text,
                 const char *null_text);
/* As "2026-11-23T21:50:00Z"; 0 is absent. */
void output_time(struct output *o, const char *title, const char *name, int64_t wall_us,
                 const char *null_text);
/* Its column is aligned right. word: in the place of the number; NULL: none. */
void output_number(struct output *o, const char *title, const char *name, int64_t n,
                   const char *word);
/* Unless e is an error, prints rows: an object with the array name, or a table. put says the values
 * of one row, more than once; for the head of the table it gets a row of zeros. Ends as
 * output_finish. */
typedef void output_row_fn(struct output *o, const void *row);
int output_list(struct command_context *c, enum err e, const char *name, const void *rows, size_t n,
                size_t size, output_row_fn *put);
/* Ends the object and prints it; ERR_NOMEM: nothing. Then command_finish. */
int output_finish(struct command_context *c);

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
