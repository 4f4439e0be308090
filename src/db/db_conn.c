/* SPDX-License-Identifier: MIT */
/* One connection to one server: opens it within a deadline, and proves that it may be used again.
 */
#include "db_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int db_wait_fd(int fd, short events, struct deadline deadline)
{
    struct pollfd waited = {.fd = fd, .events = events};
    int n;
    do
        n = poll(&waited, 1, deadline_left_ms(deadline));
    while (n < 0 && errno == EINTR);
    return n > 0 ? waited.revents : n;
}

void db_ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

/* What a server says of itself. The process id differs from that of the connection where a pooler
 * is between. Only a primary has a timeline of its own. */
#define FACTS                                                                                      \
    "SELECT pg_backend_pid() <> $1::int, CASE WHEN NOT pg_is_in_recovery() THEN " DB_TIMELINE " E" \
    "ND"
/* The settings are the connection's, unless that belongs to a pooler. */
static const char greeting[] =
    FACTS ", set_config('synchronous_commit', $2, pg_backend_pid() <> $1::int), " DB_SETTINGS(
        "pg_backend_pid() <> $1::int");
static const char plain_greeting[] = FACTS ", $2::text";

static const char options_refused[] =
    "the options in DATABASE_URL do not pass the pooler: use ALTER ROLE … SET";

/* What a refusal means for the pool. */
static enum db_open_result classify(const char *state, const char *message, char why[DB_REASON_MAX])
{
    /* 28: the login; 3D: the database does not exist; 22, 42: the options are not accepted. */
    static const char *const wrong[] = {"28", "3D", "22", "42"};
    if (strstr(message, "unsupported startup parameter: options"))
        message = options_refused;
    snprintf(why, DB_REASON_MAX, "%.*s", (int)strcspn(message, "\n"), message);
    if (strcmp(state, "53300") == 0)
        return OPEN_FULL;
    if (strcmp(state, "57P01") == 0)
        return OPEN_ENDED;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (strncmp(state, wrong[i], 2) == 0)
            return OPEN_WRONG;
    return message == options_refused ? OPEN_WRONG : OPEN_REFUSED;
}

static enum db_open_result is_late(char why[DB_REASON_MAX])
{
    snprintf(why, DB_REASON_MAX, "PostgreSQL did not answer in time");
    return OPEN_LATE;
}

static enum db_open_result handshake(PGconn *pg, struct deadline deadline, char why[DB_REASON_MAX])
{
    /* Before the first PQconnectPoll, libpq wants its caller to wait for writing. */
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    for (;;) {
        if (PQstatus(pg) == CONNECTION_BAD || want == PGRES_POLLING_FAILED) {
            char state[6];
            const char *message = db_message_parse(PQerrorMessage(pg), state);
            return classify(state, message, why);
        }
        if (want == PGRES_POLLING_OK)
            return OPEN_OK;
        short events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (db_wait_fd(PQsocket(pg), events, deadline) <= 0)
            return is_late(why);
        want = PQconnectPoll(pg);
    }
}

/* The last result of what was sent; NULL: none, or the deadline has passed. */
static PGresult *await_result(PGconn *pg, struct deadline deadline)
{
    PGresult *last = NULL;
    for (;;) {
        const int unsent = PQflush(pg);
        if (unsent == 0 && !PQisBusy(pg)) {
            PGresult *next = PQgetResult(pg);
            if (!next)
                return last;
            PQclear(last);
            last = next;
        } else if (unsent < 0 ||
                   db_wait_fd(PQsocket(pg), unsent > 0 ? POLLIN | POLLOUT : POLLIN, deadline) <=
                       0 ||
                   !PQconsumeInput(pg)) {
            return last; /* the connection has ended, perhaps after it said why */
        }
    }
}

/* Gives the connection its settings and asks what the server is. */
static enum db_open_result greet(struct db_conn *c, const struct db_url *u,
                                 struct deadline deadline, char why[DB_REASON_MAX])
{
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", PQbackendPID(c->pg));
    const char *const params[] = {pid, u->commit};
    PGresult *res = NULL;
    if (PQsendQueryParams(c->pg, u->plain ? plain_greeting : greeting, 2, NULL, params, NULL, NULL,
                          0))
        res = await_result(c->pg, deadline);
    enum db_open_result result = OPEN_OK;
    if (PQresultStatus(res) == PGRES_TUPLES_OK && PQtransactionStatus(c->pg) == PQTRANS_IDLE) {
        c->pooled = PQgetvalue(res, 0, 0)[0] == 't';
        c->timeline = (int)strtol(PQgetvalue(res, 0, 1), NULL, 10);
        if (c->pooled && u->options)
            result = classify("42", options_refused, why);
    } else if (res && PQresultStatus(res) == PGRES_FATAL_ERROR) {
        const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
        const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        result = classify(state ? state : "", message ? message : PQresultErrorMessage(res), why);
    } else if (PQstatus(c->pg) == CONNECTION_OK && deadline_passed(deadline)) {
        result = is_late(why);
    } else {
        result = classify("", "the connection was lost", why);
    }
    PQclear(res);
    return result;
}

static enum db_open_result open_once(struct db_conn *c, const struct db_url *u,
                                     struct deadline deadline, char why[DB_REASON_MAX])
{
    c->pg = db_url_connect(u, c->server);
    if (!c->pg)
        return classify("", "out of memory", why);
    /* Verbose: a refused connection shows its SQLSTATE in no other way. */
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->pg, db_ignore_notice, NULL);
    enum db_open_result result = handshake(c->pg, deadline, why);
    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    if (result == OPEN_OK)
        result = PQsetnonblocking(c->pg, 1) == 0 ? greet(c, u, deadline, why)
                                                 : classify("", "out of memory", why);
    if (result == OPEN_OK)
        return OPEN_OK;
    PQfinish(c->pg);
    c->pg = NULL;
    return result;
}

enum db_open_result db_conn_open(struct db_conn *c, const struct db_url *u,
                                 struct deadline deadline, char why[DB_REASON_MAX])
{
    enum db_open_result result = open_once(c, u, deadline, why);
    /* Nothing was refused, and the read that opens this connection has not been sent yet. */
    if (result == OPEN_ENDED)
        result = open_once(c, u, deadline, why);
    return result == OPEN_ENDED ? OPEN_REFUSED : result;
}

void db_conn_close(struct db_conn *c)
{
    PQfinish(c->pg);
    free(c);
}

bool db_conn_quiet(const struct db_conn *c)
{
    return db_wait_fd(PQsocket(c->pg), POLLIN, deadline_in_ms(0)) == 0;
}

bool db_conn_clean(struct db_conn *c)
{
    return c->pg && !c->broken && PQstatus(c->pg) == CONNECTION_OK &&
           PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF &&
           PQtransactionStatus(c->pg) == PQTRANS_IDLE && !PQisBusy(c->pg) &&
           PQgetResult(c->pg) == NULL;
}
