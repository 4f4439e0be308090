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
 * is between; then the settings are not for the connection. Only a primary has a timeline. */
static const struct db_stmt greeting = {
    NULL, "SELECT pg_backend_pid() <> $1, CASE WHEN NOT pg_is_in_recovery() THEN " DB_TIMELINE
          " END, set_config('synchronous_commit', $2, pg_backend_pid() <> $1), " DB_SETTINGS(
              "pg_backend_pid() <> $1")};

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

/* Gives the connection its settings and asks what the server is. */
static enum db_open_result greet(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                 char why[DB_REASON_MAX])
{
    const struct db_param params[] = {db_i32(PQbackendPID(c->pg)),
                                      db_text(sv_from(db->url.commit))};
    struct db_step step = {.stmt = &greeting, .params = params, .n_params = ARRAY_LEN(params)};
    struct db_fault f;
    struct db_rows rows;
    if (db_pipeline_run(db, c, ctx, &step, 1, &f) != FAULT_NONE)
        return f.kind == FAULT_TIMEOUT ? is_late(why) : classify(f.sqlstate, f.text, why);
    db_rows_from(&rows, step.result);
    c->pooled = db_get_bool(&rows, 0, 0);
    c->timeline = (int)db_get_i64(&rows, 0, 1);
    return c->pooled && db->url.options ? classify("42", options_refused, why) : OPEN_OK;
}

enum db_open_result db_conn_open(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                 char why[DB_REASON_MAX])
{
    c->pg = db_url_connect(&db->url, c->server, db->set.app_name);
    if (!c->pg)
        return classify("", "out of memory", why);
    /* Verbose: a refused connection shows its SQLSTATE in no other way. */
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->pg, db_ignore_notice, NULL);
    enum db_open_result result = handshake(c->pg, ctx->deadline, why);
    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    if (result == OPEN_OK)
        result = PQsetnonblocking(c->pg, 1) == 0 ? greet(db, ctx, c, why)
                                                 : classify("", "out of memory", why);
    if (result == OPEN_OK)
        return OPEN_OK;
    PQfinish(c->pg);
    c->pg = NULL;
    return result;
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
