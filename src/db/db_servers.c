/* SPDX-License-Identifier: MIT */
/*
 * The servers that a URL names, and which of them a new connection uses.
 * - libpq would spend the whole deadline on the first server that hangs, so each is tried by
 *   itself, with its share of the time. The last one that was used comes first, and those that did
 *   not answer come last.
 * - Only a primary is used, and only one whose timeline is not lower than the highest that this
 *   host has seen: after a failover, a primary that was not stopped still accepts writes. The first
 *   connection asks all servers and takes the one with the highest timeline. Later one worker of
 *   the host asks the others every 5 s: one may have been promoted while connections still work.
 */
#include "db_internal.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "parley/base/net.h"
#include "parley/obs/log.h"

/* ANSWER_MS is that of a ping, since the thread that pings waits for these answers, too. */
enum { ASK_OTHERS_MS = 5000, ANSWER_MS = 500 };

/* ---- opening one connection ---- */

static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

/* Shows a pooler: the process id of the backend differs from that of the connection. The settings
 * are then those of the transaction only. Only a primary has a timeline. */
static const struct db_stmt identify_stmt = {
    NULL, "SELECT pg_backend_pid() <> $1, CASE WHEN NOT pg_is_in_recovery() THEN " DB_TIMELINE
          " END, " DB_SETTINGS("pg_backend_pid() <> $1")};

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
    /* pgbouncer has one code, 08P01, for all that it refuses. */
    if (strcmp(state, "53300") == 0 || strstr(message, "no more connections allowed"))
        return OPEN_FULL;
    if (strcmp(state, "57P01") == 0)
        return OPEN_ENDED;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (strncmp(state, wrong[i], 2) == 0)
            return OPEN_WRONG;
    return message == options_refused || strstr(message, "no such database") ? OPEN_WRONG
                                                                             : OPEN_REFUSED;
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
        if (net_wait(PQsocket(pg), events, deadline) <= 0)
            return is_late(why);
        want = PQconnectPoll(pg);
    }
}

/* Sets the connection's settings. Finds out the timeline, and whether a pooler is between. */
static enum db_open_result identify(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX])
{
    const struct db_param pid = db_i32(PQbackendPID(c->pg));
    struct db_call step = {.stmt = &identify_stmt, .params = &pid, .n_params = 1};
    struct db_fault f;
    if (db_pipeline_run(db, c, ctx, &step, 1, &f) != FAULT_NONE)
        return f.kind == FAULT_TIMEOUT ? is_late(why) : classify(f.failure.sqlstate, f.text, why);
    c->pooled = db_get_bool(&step.rows, 0, 0);
    c->timeline = (int)db_get_i64(&step.rows, 0, 1);
    return c->pooled && db->url.options ? classify("42", options_refused, why) : OPEN_OK;
}

static enum db_open_result open_one(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX])
{
    c->pg = db_url_connect(&db->url, c->server, db->set.app_name);
    if (!c->pg)
        return classify("", "out of memory", why);
    /* Verbose: a refused connection shows its SQLSTATE in no other way. */
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    enum db_open_result result = handshake(c->pg, ctx->deadline, why);
    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    if (result == OPEN_OK)
        result = PQsetnonblocking(c->pg, 1) == 0 ? identify(db, ctx, c, why)
                                                 : classify("", "out of memory", why);
    if (result == OPEN_OK)
        return OPEN_OK;
    PQfinish(c->pg);
    c->pg = NULL;
    return result;
}

/* ---- choosing a server ---- */

static void set_state(const struct db *db, int server, enum db_server_state state, int timeline)
{
    atomic_store(&db->known->timeline[server], timeline);
    if (atomic_exchange(&db->known->state[server], (int)state) != (int)state &&
        state == DB_SERVER_FORMER_PRIMARY)
        log_say(LOG_ERROR, "former_primary",
                "%s is at timeline %d, but timeline %d was seen: it is not used. It is a former "
                "primary, unless the servers were replaced: then restart parley",
                db->url.name[server], timeline, atomic_load(&db->known->highest));
}

/* Adds the reason of one server to why. */
static void add_reason(const struct db *db, int server, const char *reason, char why[DB_REASON_MAX])
{
    const bool one = db->url.n == 1;
    const size_t at = strlen(why);
    const char *text = one ? NULL : strstr(reason, " failed: "); /* libpq names the server, too */
    snprintf(why + at, DB_REASON_MAX - at, "%s%s%s%s", at > 0 ? "; " : "",
             one ? "" : db->url.name[server], one ? "" : ": ",
             text ? text + strlen(" failed: ") : reason);
}

/* Tries one server. Its connection is moved into best if the timeline is higher than there. again:
 * in the second round. OPEN_OK: it is a primary that may be used. */
static enum db_open_result try_server(struct db *db, struct request_ctx *ctx, int server,
                                      bool again, struct db_conn *best, char why[DB_REASON_MAX])
{
    struct db_conn c = {.server = server};
    const enum db_open_result result = open_one(db, ctx, &c, why);
    const int highest = atomic_load(&db->known->highest);
    const enum db_server_state state = result != OPEN_OK      ? DB_SERVER_AWAY
                                       : c.timeline == 0      ? DB_SERVER_STANDBY
                                       : c.timeline < highest ? DB_SERVER_FORMER_PRIMARY
                                                              : DB_SERVER_PRIMARY;
    if (state == DB_SERVER_STANDBY)
        snprintf(why, DB_REASON_MAX, "it is a standby");
    else if (state == DB_SERVER_FORMER_PRIMARY)
        snprintf(why, DB_REASON_MAX, "it is at timeline %d, lower than %d: a former primary",
                 c.timeline, highest);
    if (result == OPEN_ENDED && !again)
        return result;
    if (result != OPEN_FULL)
        set_state(db, server, state, c.timeline);
    if (state == DB_SERVER_PRIMARY && c.timeline > best->timeline) {
        PGconn *other = best->pg;
        best->pg = c.pg;
        best->server = c.server;
        best->timeline = c.timeline;
        best->pooled = c.pooled;
        c.pg = other;
    }
    PQfinish(c.pg);
    const bool unusable = result == OPEN_OK && state != DB_SERVER_PRIMARY;
    return unusable || result == OPEN_ENDED ? OPEN_REFUSED : result;
}

/* Makes c's server the one that is used. all: every server was asked; some may have been taken for
 * primaries before one of a higher timeline answered. */
static void note_used_server(struct db *db, const struct db_conn *c, bool all)
{
    db_servers_saw(db, c->server, c->timeline);
    for (int i = 0; all && i < db->url.n; i++) {
        const int found = atomic_load(&db->known->timeline[i]);
        if (found < c->timeline && atomic_load(&db->known->state[i]) == DB_SERVER_PRIMARY)
            set_state(db, i, DB_SERVER_FORMER_PRIMARY, found);
    }
    atomic_store(&db->known->last_used, c->server);
}

enum db_open_result db_servers_open(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX])
{
    char reason[DB_REASON_MAX];
    enum db_open_result failure = OPEN_OK;
    const struct deadline end = ctx->deadline;
    const int last = atomic_load(&db->known->last_used), n = db->url.n;
    const bool first = atomic_load(&db->known->highest) == 0;
    bool tried[DB_SERVERS_MAX] = {false};
    if (db->url.fault) {
        snprintf(why, DB_REASON_MAX, "%s%s", db->set.url_name ? db->set.url_name : "DATABASE_URL",
                 db->url.fault);
        return OPEN_WRONG;
    }
    why[0] = '\0';
    for (int k = 0, left = n; k < 2 * n && (first || !c->pg); k++) {
        const int i = (last + k) % n;
        const bool again = k >= n;
        if (tried[i] || (!again && atomic_load(&db->known->state[i]) == DB_SERVER_AWAY))
            continue;
        ctx->deadline = deadline_earlier(end, deadline_in_ms(deadline_left_ms(end) / left));
        const enum db_open_result result = try_server(db, ctx, i, again, c, reason);
        if (result == OPEN_ENDED)
            continue;
        tried[i] = true;
        left--;
        if (result != OPEN_OK)
            add_reason(db, i, reason, why);
        /* The one that comes last in the enum is kept: a server that had no room, or did not answer
         * in time, may be the primary. The URL is wrong only if every server says so. */
        failure = result > failure ? result : failure;
    }
    ctx->deadline = end;
    if (!c->pg)
        return failure;
    note_used_server(db, c, first);
    return OPEN_OK;
}

/* Whether it is this worker's turn; then it is nobody's for a while. */
static bool claim_turn(struct db *db)
{
    const int64_t now = clock_mono_us();
    int64_t at = atomic_load(&db->known->ask_at_us);
    return db->url.n > 1 && now >= at &&
           atomic_compare_exchange_strong(&db->known->ask_at_us, &at,
                                          now + ASK_OTHERS_MS * INT64_C(1000));
}

void db_servers_ask_others(struct db *db, struct request_ctx *ctx)
{
    char why[DB_REASON_MAX];
    struct db_conn newer = {.timeline = atomic_load(&db->known->highest)};
    const int last = atomic_load(&db->known->last_used), n = db->url.n;
    if (!claim_turn(db))
        return;
    for (int k = 1; k < n; k++) {
        ctx->deadline = deadline_in_ms(ANSWER_MS);
        (void)try_server(db, ctx, (last + k) % n, true, &newer, why);
    }
    if (newer.pg)
        note_used_server(db, &newer, true);
    PQfinish(newer.pg);
}
