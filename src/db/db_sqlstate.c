/* SPDX-License-Identifier: MIT */
#include "db_internal.h"

#include <stdio.h>
#include <string.h>

/* Searched from the top: five characters are one state, two are the rest of a class. */
static const struct {
    const char *prefix;
    enum err err;
    unsigned flags;
} states[] = {
    {"0A000", ERR_INTERNAL, SQLSTATE_STALE},      /* cached plan must not change result type */
    {"22", ERR_INVALID, 0},                       /* data PostgreSQL refuses */
    {"23505", ERR_CONFLICT, 0},                   /* unique violation */
    {"23P01", ERR_CONFLICT, 0},                   /* exclusion violation */
    {"25006", ERR_UNAVAILABLE, SQLSTATE_SUSPECT}, /* read-only: the server became a standby */
    {"26000", ERR_INTERNAL, SQLSTATE_STALE},      /* prepared statement is not there: a pooler */
    {"40001", ERR_BUSY, SQLSTATE_CONFLICT},       /* serialization failure */
    {"40P01", ERR_BUSY, SQLSTATE_CONFLICT},       /* deadlock */
    {"53", ERR_UNAVAILABLE, 0},                   /* memory, disk or connections are used up */
    {"54", ERR_TOO_LARGE, 0},                     /* a limit of the server */
    {"55P03", ERR_BUSY, 0},                       /* lock_timeout */
    {"57014", ERR_TIMEOUT, 0},                    /* statement_timeout */
    {"57", ERR_UNAVAILABLE, 0},                   /* shutdown, crash, starting up */
    {"58", ERR_UNAVAILABLE, 0},                   /* the server's system failed */
    {"08", ERR_UNAVAILABLE, 0},                   /* connection */
    {"PL428", ERR_BUSY, 0},                       /* parley_admit: count first */
    {"PL429", ERR_LIMITED, 0},                    /* raised by parley_admit (migration 005) */
};

enum err db_sqlstate_err(const char *sqlstate, unsigned *flags)
{
    if (flags)
        *flags = 0;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) != 0)
            continue;
        if (flags)
            *flags = states[i].flags;
        return states[i].err;
    }
    return ERR_INTERNAL;
}

void db_fault_set(struct db_fault *f, enum db_fault_kind kind, enum err e, const char *text)
{
    f->kind = kind;
    f->err = e;
    snprintf(f->text, sizeof(f->text), "%s", text);
}

/* Copies the primary message. Messages of class 22 quote the value that was refused, which is the
 * client's content and must not reach a log: they are cut before the quotation. */
static void copy_message(struct db_fault *f, const char *message)
{
    int n = (int)strcspn(message, "\n");
    if (strncmp(f->sqlstate, "22", 2) == 0) {
        int quote = (int)strcspn(message, "\":");
        n = quote < n ? quote : n;
    }
    snprintf(f->text, sizeof(f->text), "%.*s", n, message);
}

void db_fault_from_result(struct db_fault *f, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    if (!state) {
        /* libpq's own words: the connection ended, or there was no memory for the answer. */
        f->kind = FAULT_LOST;
        f->err = ERR_UNAVAILABLE;
        copy_message(f, PQresultErrorMessage(res));
        return;
    }
    unsigned flags;
    snprintf(f->sqlstate, sizeof(f->sqlstate), "%s", state);
    snprintf(f->constraint, sizeof(f->constraint), "%s", constraint ? constraint : "");
    copy_message(f, message ? message : "");
    f->err = db_sqlstate_err(state, &flags);
    f->conflict = (flags & SQLSTATE_CONFLICT) != 0;
    f->suspect = (flags & SQLSTATE_SUSPECT) != 0;
    f->stale = f->suspect || (flags & SQLSTATE_STALE) != 0;
    /* After FATAL the server closes: whether it had committed is not known from here. */
    bool fatal = severity && strcmp(severity, "ERROR") != 0;
    f->kind = fatal ? FAULT_LOST : FAULT_SERVER;
}

enum err db_fault_report(struct request_ctx *ctx, const struct db_fault *f,
                         struct db_failure *failure)
{
    if (failure) {
        memcpy(failure->sqlstate, f->sqlstate, sizeof(failure->sqlstate));
        memcpy(failure->constraint, f->constraint, sizeof(failure->constraint));
        failure->call = f->call;
    }
    enum err e = f->err;
    if (f->sqlstate[0])
        ctx_fault(ctx, e, "postgres %s: %s", f->sqlstate, f->text);
    else
        ctx_fault(ctx, e, "postgres: %s", f->text);
    if ((e == ERR_UNAVAILABLE || e == ERR_OVERLOAD || e == ERR_BUSY) && ctx->err.err == e &&
        ctx->err.retry_after_s == 0)
        ctx->err.retry_after_s = 1;
    return e;
}
