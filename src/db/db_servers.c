/* SPDX-License-Identifier: MIT */
/*
 * The servers that a URL names, and which of them a new connection uses.
 * - libpq would spend the whole deadline on the first server that hangs, so each is tried by
 *   itself, with its share of the time. The last one that was used comes first, and those that did
 *   not answer come last.
 * - Only a primary is used, and only one whose timeline is not lower than the highest that this
 *   host has seen: after a failover, a primary that was not stopped still accepts writes. The first
 *   connection asks all servers and takes the one with the highest timeline.
 */
#include "db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* ---- the URL ---- */

/* A connection sets synchronous_commit itself, as the options of the URL have it or "on", and they
 * are not sent if they hold nothing else: a pooler may refuse any. */
static void take_options(struct db_url *u, const char *options)
{
    static const char commit[] = "synchronous_commit=";
    const ptrdiff_t length = (ptrdiff_t)sizeof(commit) - 1;
    snprintf(u->commit, sizeof(u->commit), "on");
    for (const char *at = options; at && (at = strchr(at, '=')); at++)
        if (at - options >= length && strncmp(at + 1 - length, commit, (size_t)length) == 0)
            snprintf(u->commit, sizeof(u->commit), "%.*s", (int)strcspn(at + 1, " "), at + 1);
        else
            u->options = options;
}

/* Cuts a list at its commas. Returns the number of its entries; 0: there is no list. */
static int cut_list(char *list, const char *entries[DB_SERVERS_MAX])
{
    int n = 0;
    for (char *entry; (entry = strsep(&list, ",")); n++)
        if (n < DB_SERVERS_MAX)
            entries[n] = entry;
    return n;
}

/* As libpq does it: one port, or one for each host. */
static void take_servers(struct db_url *u, char *host, char *hostaddr, char *port)
{
    const int hosts = cut_list(host, u->host), addresses = cut_list(hostaddr, u->hostaddr);
    const int ports = cut_list(port, u->port);
    u->n = addresses > 0 ? addresses : hosts > 0 ? hosts : 1;
    if (u->n > DB_SERVERS_MAX || (hosts > 0 && hosts != u->n) || (ports > 1 && ports != u->n))
        u->fault = " names more than 8 servers, or other numbers of hosts and ports";
    for (int i = 0; !u->fault && i < u->n; i++) {
        const char *name = u->host[i] && *u->host[i] ? u->host[i] : u->hostaddr[i];
        const char *at = u->port[i] = u->port[ports == 1 ? 0 : i];
        snprintf(u->name[i], DB_SERVER_NAME_MAX, "%s%s%s", name && *name ? name : "default host",
                 at && *at ? ":" : "", at ? at : "");
    }
}

bool db_url_parse(struct db_url *u, const char *text)
{
    char *complaint = NULL, *lists[4] = {NULL};
    static const char *const keywords[] = {"host", "hostaddr", "port", "options"};
    u->parsed = PQconninfoParse(text, &complaint);
    /* Without a complaint there was no memory (libpq's manual, PQconninfoParse). libpq's own
     * message would repeat the URL, and with it the password. */
    if (!u->parsed && complaint && !strstr(complaint, "out of memory"))
        u->fault = " is not a valid connection string";
    PQfreemem(complaint);
    for (const PQconninfoOption *o = u->parsed; o && o->keyword; o++)
        for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
            if (strcmp(o->keyword, keywords[i]) == 0)
                lists[i] = o->val;
    take_options(u, lists[3]);
    if (u->parsed)
        take_servers(u, lists[0], lists[1], lists[2]);
    return u->parsed || u->fault;
}

PGconn *db_url_connect(const struct db_url *u, int server, const char *app_name)
{
    enum { KEYWORDS_MAX = 80 }; /* libpq 17 has 53 */
    const struct {
        const char *keyword, *value;
    } own[] = {{"host", u->host[server]},      {"hostaddr", u->hostaddr[server]},
               {"port", u->port[server]},      {"options", u->options},
               {"target_session_attrs", NULL}, /* checked here */
               {"application_name", app_name}, {"client_encoding", "UTF8"}};
    const char *keys[KEYWORDS_MAX + 1] = {NULL}, *values[KEYWORDS_MAX + 1] = {NULL};
    int n = 0;
    for (const PQconninfoOption *o = u->parsed; o->keyword && n < KEYWORDS_MAX; o++) {
        keys[n] = o->keyword;
        values[n] = o->val;
        for (size_t i = 0; i < ARRAY_LEN(own); i++)
            if (strcmp(o->keyword, own[i].keyword) == 0)
                values[n] = own[i].value;
        n += values[n] != NULL;
    }
    keys[n] = NULL;
    return PQconnectStartParams(keys, values, 0);
}

/* ---- what is known of the servers ---- */

static void note(const struct db *db, int server, enum db_server_state state, int timeline)
{
    atomic_store(&db->known->timeline[server], timeline);
    if (atomic_exchange(&db->known->state[server], (int)state) != (int)state &&
        state == DB_SERVER_BEHIND)
        log_say(LOG_ERROR, "server_behind",
                "%s is at timeline %d, but timeline %d was seen: it is not used. It is a former "
                "primary, unless the servers were replaced: then restart parley",
                db->url.name[server], timeline, atomic_load(&db->known->highest));
}

void db_servers_saw(struct db *db, int server, int timeline)
{
    int highest = atomic_load(&db->known->highest);
    while (timeline > highest)
        if (atomic_compare_exchange_weak(&db->known->highest, &highest, timeline) && highest > 0)
            log_say(LOG_INFO, "new_timeline",
                    "%s is at timeline %d: connections to servers of lower timelines are closed",
                    db->url.name[server], timeline);
}

/* ---- opening ---- */

/* One attempt at all servers. */
struct attempt {
    struct db *db;
    bool again; /* the second round */
    int failed; /* servers */
    enum db_open_result result;
    char *why; /* DB_REASON_MAX bytes */
};

/* The later kind of result counts: a server that had no room, or did not answer in time, may be the
 * one that is needed. The URL is wrong only if every server says so. */
static void note_failure(struct attempt *a, int server, enum db_open_result result,
                         const char *reason)
{
    if (result == OPEN_OK || result == OPEN_ENDED)
        result = OPEN_REFUSED;
    const bool one = a->db->url.n == 1;
    const size_t at = a->failed > 0 ? strlen(a->why) : 0;
    const char *text = one ? NULL : strstr(reason, " failed: "); /* libpq names the server, too */
    snprintf(a->why + at, DB_REASON_MAX - at, "%s%s%s%s", at > 0 ? "; " : "",
             one ? "" : a->db->url.name[server], one ? "" : ": ",
             text ? text + strlen(" failed: ") : reason);
    a->failed++;
    if (result > a->result)
        a->result = result;
}

/* What an open connection says of its server. */
static enum db_server_state judge(const struct db *db, const struct db_conn *c,
                                  char why[DB_REASON_MAX])
{
    const int highest = atomic_load(&db->known->highest);
    if (c->timeline >= highest && c->timeline > 0)
        return DB_SERVER_PRIMARY;
    if (c->timeline == 0)
        snprintf(why, DB_REASON_MAX, "it is a standby");
    else
        snprintf(why, DB_REASON_MAX, "it is at timeline %d, lower than %d: a former primary",
                 c->timeline, highest);
    return c->timeline == 0 ? DB_SERVER_STANDBY : DB_SERVER_BEHIND;
}

/* Tries one server. Its connection is moved into best if the timeline is higher than there. */
static enum db_open_result try_server(struct attempt *a, struct request_ctx *ctx, int server,
                                      struct db_conn *best)
{
    char why[DB_REASON_MAX];
    struct db_conn c = {.server = server};
    enum db_open_result result = db_conn_open(a->db, ctx, &c, why);
    const enum db_server_state state = result == OPEN_OK ? judge(a->db, &c, why) : DB_SERVER_AWAY;
    if (result == OPEN_ENDED && !a->again)
        return result;
    if (result != OPEN_FULL)
        note(a->db, server, state, c.timeline);
    if (state != DB_SERVER_PRIMARY)
        note_failure(a, server, result, why);
    if (state == DB_SERVER_PRIMARY && c.timeline > best->timeline) {
        PGconn *other = best->pg;
        best->pg = c.pg;
        best->server = c.server;
        best->timeline = c.timeline;
        best->pooled = c.pooled;
        c.pg = other;
    }
    PQfinish(c.pg);
    return result;
}

enum db_open_result db_servers_open(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX])
{
    struct attempt a = {.db = db, .why = why};
    const struct deadline end = ctx->deadline;
    const int last = atomic_load(&db->known->last_used), n = db->url.n;
    const bool first = atomic_load(&db->known->highest) == 0;
    bool tried[DB_SERVERS_MAX] = {false};
    if (db->url.fault) {
        snprintf(why, DB_REASON_MAX, "%s%s", db->set.url_name ? db->set.url_name : "DATABASE_URL",
                 db->url.fault);
        return OPEN_WRONG;
    }
    for (int k = 0, left = n; k < 2 * n && (first || !c->pg); k++) {
        const int i = (last + k) % n;
        a.again = k >= n;
        if (tried[i] || (!a.again && atomic_load(&db->known->state[i]) == DB_SERVER_AWAY))
            continue;
        ctx->deadline = deadline_earlier(end, deadline_in_ms(deadline_left_ms(end) / left));
        tried[i] = try_server(&a, ctx, i, c) != OPEN_ENDED;
        left -= tried[i];
    }
    ctx->deadline = end;
    if (!c->pg)
        return a.result;
    db_servers_saw(db, c->server, c->timeline);
    atomic_store(&db->known->last_used, c->server);
    return OPEN_OK;
}
