/* SPDX-License-Identifier: MIT */
/* One connection: opens it within a deadline, and proves that it may be used again. */
#include "db_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Settings of every connection.
 * - idle_in_transaction_session_timeout ends the transaction of a worker that hangs.
 * - client_connection_check_interval ends a statement whose worker is gone.
 * - force_generic_plan: statements are written so that one plan serves every value. Otherwise
 *   PostgreSQL would plan the first five executions on each fresh connection again.
 * - enable_seqscan: the cheapest plan for an empty table is a sequential scan, and that plan would
 *   stay when the table has grown. Searches switch it on again.
 * - jit: with enable_seqscan off, a scan of a whole table seems so expensive that PostgreSQL would
 *   compile it, which takes longer than the scan. */
static const char session_options[] = "-c TimeZone=UTC -c plan_cache_mode=force_generic_plan "
                                      "-c enable_seqscan=off -c jit=off "
                                      "-c idle_in_transaction_session_timeout=10000 "
                                      "-c client_connection_check_interval=1000";

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

/* Precedes the URL's options, so that an operator may choose there how long a commit waits for
 * standbys. It overrides role, database and postgresql.conf. */
static const char durable_option[] = "-c synchronous_commit=on";

/* NULL: the URL is not valid (*wrong), or there is no memory. */
static PGconn *start(const struct db_settings *settings, bool *wrong)
{
    PGconn *pg = NULL;
    char *options = NULL, *complaint = NULL;
    const char *of_url = NULL;
    PQconninfoOption *parsed = PQconninfoParse(settings->url, &complaint);
    /* Without a complaint there was no memory (libpq's manual, PQconninfoParse). */
    *wrong = !parsed && complaint && !strstr(complaint, "out of memory");
    PQfreemem(complaint);
    for (PQconninfoOption *o = parsed; o && o->keyword; o++)
        if (strcmp(o->keyword, "options") == 0)
            of_url = o->val;
    if (parsed && asprintf(&options, "%s %s %s", durable_option, of_url ? of_url : "",
                           session_options) >= 0) {
        /* A later keyword overrides the URL. */
        const char *const keys[] = {"dbname", "options", "application_name", "client_encoding",
                                    NULL};
        const char *const values[] = {settings->url, options, settings->app_name, "UTF8", NULL};
        pg = PQconnectStartParams(keys, values, 1);
        free(options);
    }
    PQconninfoFree(parsed);
    return pg;
}

/* What the refusal of a server means for the pool. */
static enum db_open_result classify_refusal(PGconn *pg, char why[DB_REASON_MAX])
{
    /* 28: the login; 3D: the database does not exist; 22, 42: the options are not accepted. */
    static const char *const wrong[] = {"28", "3D", "22", "42"};
    char state[6];
    const char *message = db_message_parse(PQerrorMessage(pg), state);
    snprintf(why, DB_REASON_MAX, "%.*s", (int)strcspn(message, "\n"), message);
    if (strcmp(state, "53300") == 0)
        return OPEN_FULL;
    if (strcmp(state, "57P01") == 0)
        return OPEN_ENDED;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (strncmp(state, wrong[i], 2) == 0)
            return OPEN_WRONG;
    return OPEN_REFUSED;
}

static enum db_open_result handshake(PGconn *pg, struct deadline deadline, char why[DB_REASON_MAX])
{
    /* Before the first PQconnectPoll, libpq wants its caller to wait for writing. */
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    for (;;) {
        if (PQstatus(pg) == CONNECTION_BAD || want == PGRES_POLLING_FAILED)
            return classify_refusal(pg, why);
        if (want == PGRES_POLLING_OK)
            return OPEN_OK;
        short events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (db_wait_fd(PQsocket(pg), events, deadline) <= 0) {
            snprintf(why, DB_REASON_MAX, "PostgreSQL did not answer in time");
            return OPEN_LATE;
        }
        want = PQconnectPoll(pg);
    }
}

static enum db_open_result open_once(struct db_conn *c, const struct db_settings *settings,
                                     struct deadline deadline, char why[DB_REASON_MAX])
{
    bool wrong;
    c->pg = start(settings, &wrong);
    if (!c->pg) {
        /* libpq's own message would repeat the URL, and with it the password. */
        const char *url_name = settings->url_name ? settings->url_name : "DATABASE_URL";
        snprintf(why, DB_REASON_MAX, "%s%s", wrong ? url_name : "out of memory",
                 wrong ? " is not a valid connection string" : "");
        return wrong ? OPEN_WRONG : OPEN_REFUSED;
    }
    /* Verbose: a refused connection shows its SQLSTATE in no other way. */
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->pg, db_ignore_notice, NULL);
    enum db_open_result result = handshake(c->pg, deadline, why);
    if (result == OPEN_OK && PQsetnonblocking(c->pg, 1) != 0)
        result = OPEN_REFUSED;
    if (result == OPEN_OK) {
        PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
        return OPEN_OK;
    }
    PQfinish(c->pg);
    c->pg = NULL;
    return result;
}

enum db_open_result db_conn_open(struct db_conn *c, const struct db_settings *settings,
                                 struct deadline deadline, char why[DB_REASON_MAX])
{
    enum db_open_result result = open_once(c, settings, deadline, why);
    /* Nothing was refused, and the read that opens this connection has not been sent yet. */
    if (result == OPEN_ENDED)
        result = open_once(c, settings, deadline, why);
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
