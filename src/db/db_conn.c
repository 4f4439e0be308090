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

int db_wait_fd(int fd, short events, struct deadline deadline, int stop_fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, stop_fd >= 0 ? 2 : 1, deadline_left_ms(deadline));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (stop_fd >= 0 && fds[1].revents) {
            errno = ECANCELED;
            return -1;
        }
        return n == 0 ? 0 : fds[0].revents;
    }
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
        const char *app = settings->app_name ? settings->app_name : "parley";
        /* A later keyword overrides the URL. */
        const char *const keys[] = {"dbname", "options", "application_name", "client_encoding",
                                    NULL};
        const char *const values[] = {settings->url, options, app, "UTF8", NULL};
        pg = PQconnectStartParams(keys, values, 1);
        free(options);
    }
    PQconninfoFree(parsed);
    return pg;
}

/* What the refusal of a server means for the pool. */
static enum db_open_result classify_refusal(PGconn *pg, struct db_attempt *attempt)
{
    /* 28: the login; 3D: the database does not exist; 22, 42: the options are not accepted. */
    static const char *const wrong[] = {"28", "3D", "22", "42"};
    char state[6];
    const char *message = db_message_parse(PQerrorMessage(pg), state);
    snprintf(attempt->why, sizeof(attempt->why), "%.*s", (int)strcspn(message, "\n"), message);
    if (strcmp(state, "53300") == 0)
        return OPEN_FULL;
    if (strcmp(state, "57P01") == 0)
        return OPEN_ENDED;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (strncmp(state, wrong[i], 2) == 0)
            return OPEN_WRONG;
    return OPEN_REFUSED;
}

static enum db_open_result handshake(PGconn *pg, struct db_attempt *attempt)
{
    /* Before the first PQconnectPoll, libpq wants its caller to wait for writing. */
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    for (;;) {
        if (PQstatus(pg) == CONNECTION_BAD || want == PGRES_POLLING_FAILED)
            return classify_refusal(pg, attempt);
        if (want == PGRES_POLLING_OK)
            return OPEN_OK;
        short events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        int got = db_wait_fd(PQsocket(pg), events, attempt->deadline, attempt->stop_fd);
        if (got < 0 && errno == ECANCELED)
            return OPEN_CANCELLED;
        if (got <= 0) {
            snprintf(attempt->why, sizeof(attempt->why), "PostgreSQL did not answer in time");
            return OPEN_LATE;
        }
        want = PQconnectPoll(pg);
    }
}

static enum db_open_result open_once(struct db_conn *c, const struct db_settings *settings,
                                     struct db_attempt *attempt)
{
    bool wrong;
    c->pg = start(settings, &wrong);
    if (!c->pg) {
        /* libpq's own message would repeat the URL, and with it the password. */
        const char *url_name = settings->url_name ? settings->url_name : "DATABASE_URL";
        snprintf(attempt->why, sizeof(attempt->why), "%s%s", wrong ? url_name : "out of memory",
                 wrong ? " is not a valid connection string" : "");
        return wrong ? OPEN_WRONG : OPEN_REFUSED;
    }
    /* Verbose: a refused connection shows its SQLSTATE in no other way. */
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->pg, db_ignore_notice, NULL);
    enum db_open_result result = handshake(c->pg, attempt);
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
                                 struct db_attempt *attempt)
{
    enum db_open_result result = open_once(c, settings, attempt);
    /* Nothing was refused, and the read that opens this connection has not been sent yet. */
    if (result == OPEN_ENDED)
        result = open_once(c, settings, attempt);
    return result == OPEN_ENDED ? OPEN_REFUSED : result;
}

void db_conn_close(struct db_conn *c)
{
    PQfinish(c->pg);
    free(c);
}

bool db_conn_quiet(const struct db_conn *c)
{
    return db_wait_fd(PQsocket(c->pg), POLLIN, deadline_in_ms(0), -1) == 0;
}

bool db_conn_clean(struct db_conn *c)
{
    return c->pg && !c->broken && !c->dirty && PQstatus(c->pg) == CONNECTION_OK &&
           PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF &&
           PQtransactionStatus(c->pg) == PQTRANS_IDLE && !PQisBusy(c->pg) &&
           PQgetResult(c->pg) == NULL;
}

PGresult *db_conn_exec(struct db_conn *c, const char *sql, struct deadline deadline, int stop_fd)
{
    PGresult *last = NULL;
    if (!PQsendQuery(c->pg, sql)) {
        c->broken = true;
        return NULL;
    }
    for (;;) {
        int unsent = PQflush(c->pg);
        while (unsent == 0 && !PQisBusy(c->pg)) {
            PGresult *res = PQgetResult(c->pg);
            if (!res)
                return last;
            PQclear(last);
            last = res;
        }
        short events = unsent > 0 ? POLLIN | POLLOUT : POLLIN;
        if (unsent < 0 || db_wait_fd(PQsocket(c->pg), events, deadline, stop_fd) <= 0 ||
            !PQconsumeInput(c->pg))
            break;
    }
    /* An answer may still come, and nobody may ever read it. */
    int why = errno;
    c->broken = true;
    PQclear(last);
    errno = why;
    return NULL;
}

/* The closing parenthesis of a call whose arguments begin at p; NULL: there is none. */
static const char *call_end(const char *p)
{
    bool quoted = false;
    for (int depth = 1; *p; p++) {
        if (*p == '\'')
            quoted = !quoted;
        if (quoted)
            continue;
        depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
        if (depth == 0)
            return p;
    }
    return NULL;
}

bool db_sql_leaves_state(const char *sql)
{
    if (strcasestr(sql, "pg_advisory_lock") || strcasestr(sql, "pg_try_advisory_lock"))
        return true;
    for (const char *at = strcasestr(sql, "set_config("); at; at = strcasestr(at, "set_config(")) {
        at += strlen("set_config(");
        const char *end = call_end(at);
        if (!end)
            return true;
        while (end > at && end[-1] == ' ')
            end--;
        if (end - at < 4 || strncasecmp(end - 4, "true", 4) != 0)
            return true;
    }
    return false;
}

bool db_tag_leaves_state(const char *command_tag)
{
    /* Everything else (SET, LISTEN, PREPARE, DECLARE, CREATE TABLE, …) may outlive its transaction
     * in the session. */
    static const char *const harmless[] = {"SELECT", "INSERT", "UPDATE",   "DELETE", "MERGE",
                                           "BEGIN",  "COMMIT", "ROLLBACK", "LOCK",   "TRUNCATE"};
    size_t n = strcspn(command_tag, " ");
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
        if (strlen(harmless[i]) == n && strncmp(command_tag, harmless[i], n) == 0)
            return false;
    return true;
}
