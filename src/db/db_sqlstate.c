/* SPDX-License-Identifier: MIT */
/* What a SQLSTATE means, and how to find one in a message of libpq. */
#include "db_internal.h"

#include <string.h>

/* The first match decides: five characters are one state, two stand for the rest of a class. */
static const struct {
    const char *prefix;
    enum err err;
    unsigned flags;
} states[] = {
    {"0A000", ERR_INTERNAL, SQLSTATE_STALE},      /* cached plan must not change result type */
    {"22012", ERR_UNAVAILABLE, SQLSTATE_SUSPECT}, /* a lower timeline: see db_pipeline.c */
    {"22", ERR_INVALID, 0},                       /* data PostgreSQL refuses */
    {"23505", ERR_CONFLICT, 0},                   /* unique violation */
    {"23P01", ERR_CONFLICT, 0},                   /* exclusion violation */
    {"25006", ERR_UNAVAILABLE, SQLSTATE_SUSPECT}, /* read-only: the server became a standby */
    {"26000", ERR_INTERNAL, SQLSTATE_STALE},      /* prepared statement is not there: a pooler */
    {"40001", ERR_BUSY, SQLSTATE_CONFLICT},       /* serialization failure */
    {"40P01", ERR_BUSY, SQLSTATE_CONFLICT},       /* deadlock */
    {"53", ERR_UNAVAILABLE, 0},                   /* memory, disk or connections are used up */
    {"54", ERR_TOO_LARGE, 0},                     /* a limit of the server */
    {"55000", ERR_UNAVAILABLE, SQLSTATE_SUSPECT}, /* a standby has no timeline of its own */
    {"55P03", ERR_BUSY, 0},                       /* lock_timeout */
    {"57014", ERR_TIMEOUT, 0},                    /* statement_timeout */
    {"57", ERR_UNAVAILABLE, 0},                   /* shutdown, crash, starting up */
    {"58", ERR_UNAVAILABLE, SQLSTATE_STALE},      /* a file of the server: other backends may do */
    {"08", ERR_UNAVAILABLE, 0},                   /* connection */
    {"PL400", ERR_INVALID, 0},                    /* parley_search: no word to look for */
    {"PL428", ERR_BUSY, 0},                       /* parley_admit: count first */
    {"PL429", ERR_LIMITED, 0},                    /* raised by parley_admit (migration 005) */
};

enum err db_sqlstate_err(const char *sqlstate, unsigned *flags)
{
    *flags = 0;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) != 0)
            continue;
        *flags = states[i].flags;
        return states[i].err;
    }
    return ERR_INTERNAL;
}

const char *db_message_parse(const char *message, char sqlstate[6])
{
    for (const char *at = strstr(message, ":  "); at; at = strstr(at + 1, ":  ")) {
        const char *code = at + 3;
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':' &&
            code[6] == ' ') {
            memcpy(sqlstate, code, 5);
            sqlstate[5] = '\0';
            return code + 7;
        }
    }
    sqlstate[0] = '\0';
    return message;
}
