/* SPDX-License-Identifier: MIT */
/* Faults of a round trip: from an error result, and into the request. */
#include "db_internal.h"

#include <stdio.h>
#include <string.h>

void db_fault_set(struct db_fault *f, enum db_fault_kind kind, enum err e, const char *text)
{
    f->kind = kind;
    f->err = e;
    snprintf(f->text, sizeof(f->text), "%s", text);
}

/* Copies the primary message. Messages of class 22 quote the refused value, which is the client's
 * content and must not reach a log: they are cut before the quotation. */
static void copy_message(struct db_fault *f, const char *message)
{
    int n = (int)strcspn(message, "\n");
    if (strncmp(f->failure.sqlstate, "22", 2) == 0) {
        int quote = (int)strcspn(message, "\":");
        n = quote < n ? quote : n;
    }
    snprintf(f->text, sizeof(f->text), "%.*s", n, message);
}

void db_fault_from_result(struct db_fault *f, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    /* PostgreSQL translates the other field; a pooler sends that one alone. */
    const char *own = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *severity = own ? own : PQresultErrorField(res, PG_DIAG_SEVERITY);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    if (!state) {
        /* libpq's own message: the connection ended, or there was no memory for the answer. */
        f->kind = FAULT_LOST;
        f->err = ERR_UNAVAILABLE;
        copy_message(f, PQresultErrorMessage(res));
        return;
    }
    snprintf(f->failure.sqlstate, sizeof(f->failure.sqlstate), "%s", state);
    snprintf(f->failure.constraint, sizeof(f->failure.constraint), "%s",
             constraint ? constraint : "");
    copy_message(f, message ? message : "");
    f->err = db_sqlstate_err(state, &f->flags);
    /* After FATAL the server closes: whether it had committed is not known here. */
    bool fatal = severity && strcmp(severity, "ERROR") != 0;
    f->kind = fatal ? FAULT_LOST : FAULT_SERVER;
}

enum err db_fault_report(struct request_ctx *ctx, const struct db_fault *f,
                         struct db_failure *failure)
{
    const char *state = f->failure.sqlstate;
    if (failure)
        *failure = f->failure;
    return ctx_fault(ctx, f->err, "postgres%s%s: %s", state[0] ? " " : "", state, f->text);
}
