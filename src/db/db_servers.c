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

static int count_of(const char *in, const char *text)
{
    int n = 0;
    for (; in && (in = strstr(in, text)); in += strlen(text))
        n++;
    return n;
}

/* A connection sets synchronous_commit itself, as the options of the URL have it or "on". They are
 * not sent if they hold nothing else: a pooler may refuse any. */
static void take_options(struct db_url *u, const char *options)
{
    static const char commit[] = "synchronous_commit=";
    u->options = count_of(options, "=") > count_of(options, commit) ? options : NULL;
    snprintf(u->commit, sizeof(u->commit), "on");
    for (; options && (options = strstr(options, commit)); options += sizeof(commit) - 1) {
        const char *value = options + sizeof(commit) - 1;
        snprintf(u->commit, sizeof(u->commit), "%.*s", (int)strcspn(value, " "), value);
    }
}

/* Cuts a list at its commas. Returns the number of its entries; 0: there is no list. */
static int cut_list(char *list, const char *entries[DB_SERVERS_MAX])
{
    int n = 0;
    for (char *entry; (entry = strsep(&list, ","));) {
        if (n < DB_SERVERS_MAX)
            entries[n] = entry;
        n++;
    }
    return n;
}

static void name_server(struct db_url *u, int i)
{
    const char *host = u->host[i] && *u->host[i] ? u->host[i] : u->hostaddr[i];
    snprintf(u->name[i], DB_SERVER_NAME_MAX, "%s%s%s", host && *host ? host : "default host",
             u->port[i] && *u->port[i] ? ":" : "", u->port[i] ? u->port[i] : "");
}

/* As libpq does it: one port, or one for each host. */
static void take_servers(struct db_url *u, char *host, char *hostaddr, char *port)
{
    const int hosts = cut_list(host, u->host), addresses = cut_list(hostaddr, u->hostaddr);
    const int ports = cut_list(port, u->port);
    u->n = addresses > 0 ? addresses : hosts > 0 ? hosts : 1;
    if (u->n > DB_SERVERS_MAX)
        u->fault = "names more than 8 servers";
    else if ((hosts > 0 && hosts != u->n) || (ports > 1 && ports != u->n))
        u->fault = "has lists of hosts and ports that differ in length";
    for (int i = 0; !u->fault && i < u->n; i++) {
        u->port[i] = u->port[ports == 1 ? 0 : i];
        name_server(u, i);
    }
}

bool db_url_parse(struct db_url *u, const char *text)
{
    char *complaint = NULL, *host = NULL, *hostaddr = NULL, *port = NULL;
    const char *options = NULL;
    const struct {
        const char *keyword;
        char **value;
    } lists[] = {{"host", &host}, {"hostaddr", &hostaddr}, {"port", &port}};
    u->parsed = PQconninfoParse(text, &complaint);
    /* Without a complaint there was no memory (libpq's manual, PQconninfoParse). */
    const bool wrong = !u->parsed && complaint && !strstr(complaint, "out of memory");
    PQfreemem(complaint);
    if (wrong)
        u->fault = "is not a valid connection string";
    for (PQconninfoOption *o = u->parsed; o && o->keyword; o++) {
        for (size_t i = 0; i < ARRAY_LEN(lists); i++)
            if (strcmp(o->keyword, lists[i].keyword) == 0)
                *lists[i].value = o->val;
        if (strcmp(o->keyword, "options") == 0)
            options = o->val;
    }
    take_options(u, options);
    if (u->parsed)
        take_servers(u, host, hostaddr, port);
    return u->parsed || wrong;
}

void db_url_clear(struct db_url *u)
{
    PQconninfoFree(u->parsed);
    u->parsed = NULL;
}

PGconn *db_url_connect(const struct db_url *u, int server)
{
    enum { KEYWORDS_MAX = 80 }; /* libpq 17 has 53 */
    const struct {
        const char *keyword, *value;
    } own[] = {{"host", u->host[server]},         {"hostaddr", u->hostaddr[server]},
               {"port", u->port[server]},         {"options", u->options},
               {"target_session_attrs", NULL}, /* checked here, with a reason */
               {"application_name", u->app_name}, {"client_encoding", "UTF8"}};
    const char *keys[KEYWORDS_MAX + 1] = {NULL}, *values[KEYWORDS_MAX + 1] = {NULL};
    int n = 0;
    for (const PQconninfoOption *o = u->parsed; o->keyword && n < KEYWORDS_MAX; o++) {
        const char *value = o->val;
        for (size_t i = 0; i < ARRAY_LEN(own); i++)
            if (strcmp(o->keyword, own[i].keyword) == 0)
                value = own[i].value;
        if (!value)
            continue;
        keys[n] = o->keyword;
        values[n++] = value;
    }
    return PQconnectStartParams(keys, values, 0);
}

/* ---- what is known of the servers ---- */

static void note(const struct db_url *u, int server, enum db_server_state state, int timeline)
{
    atomic_store(&u->known->timeline[server], timeline);
    if (atomic_exchange(&u->known->state[server], (int)state) != (int)state &&
        state == DB_SERVER_BEHIND)
        log_say(LOG_ERROR, "server_behind",
                "%s is at timeline %d, but timeline %d was seen: it is not used. It is a former "
                "primary, unless the servers were replaced: then restart parley",
                u->name[server], timeline, atomic_load(&u->known->highest));
}

void db_servers_saw(const struct db_url *u, int server, int timeline)
{
    int highest = atomic_load(&u->known->highest);
    while (timeline > highest)
        if (atomic_compare_exchange_weak(&u->known->highest, &highest, timeline) && highest > 0)
            log_say(LOG_INFO, "new_timeline",
                    "%s is at timeline %d: connections to servers of lower timelines are closed",
                    u->name[server], timeline);
}

/* ---- opening ---- */

/* One attempt at all servers. */
struct attempt {
    const struct db_url *url;
    int failed; /* servers */
    enum db_open_result result;
    char *why; /* DB_REASON_MAX bytes */
};

/* A server that had no room, or did not answer in time, may be the one that is needed. The URL is
 * wrong only if every server says so. */
static void note_failure(struct attempt *a, int server, enum db_open_result result,
                         const char *reason)
{
    static const int weight[] = {
        [OPEN_WRONG] = 1, [OPEN_REFUSED] = 2, [OPEN_LATE] = 3, [OPEN_FULL] = 4};
    const size_t at = a->failed > 0 ? strlen(a->why) : 0;
    const char *text = strstr(reason, " failed: "); /* libpq names the server before that */
    if (a->failed++ == 0 || weight[result] > weight[a->result])
        a->result = result;
    if (a->url->n == 1)
        snprintf(a->why, DB_REASON_MAX, "%s", reason);
    else
        snprintf(a->why + at, DB_REASON_MAX - at, "%s%s: %s", at > 0 ? "; " : "",
                 a->url->name[server], text ? text + strlen(" failed: ") : reason);
}

/* Whether the server of an open connection may be used; else why not. */
static bool accept_server(const struct db_url *u, const struct db_conn *c, char why[DB_REASON_MAX])
{
    const int highest = atomic_load(&u->known->highest);
    const enum db_server_state state = c->timeline == 0        ? DB_SERVER_STANDBY
                                       : c->timeline < highest ? DB_SERVER_BEHIND
                                                               : DB_SERVER_PRIMARY;
    note(u, c->server, state, c->timeline);
    if (state == DB_SERVER_STANDBY)
        snprintf(why, DB_REASON_MAX, "it is a standby");
    else if (state == DB_SERVER_BEHIND)
        snprintf(why, DB_REASON_MAX, "it is at timeline %d, lower than %d: a former primary",
                 c->timeline, highest);
    return state == DB_SERVER_PRIMARY;
}

/* Tries one server. Its connection is moved into best if the timeline is higher than there. */
static void try_server(struct attempt *a, int server, struct deadline deadline,
                       struct db_conn *best)
{
    char why[DB_REASON_MAX];
    struct db_conn c = {.server = server};
    enum db_open_result result = db_conn_open(&c, a->url, deadline, why);
    if (result != OPEN_OK && result != OPEN_FULL)
        note(a->url, server, DB_SERVER_AWAY, 0);
    if (result == OPEN_OK && !accept_server(a->url, &c, why))
        result = OPEN_REFUSED;
    if (result != OPEN_OK)
        note_failure(a, server, result, why);
    if (result == OPEN_OK && (!best->pg || c.timeline > best->timeline)) {
        PGconn *other = best->pg;
        best->pg = c.pg;
        best->server = c.server;
        best->timeline = c.timeline;
        best->pooled = c.pooled;
        c.pg = other;
    }
    PQfinish(c.pg);
}

enum db_open_result db_servers_open(struct db_conn *c, const struct db_url *u,
                                    struct deadline deadline, char why[DB_REASON_MAX])
{
    struct attempt a = {.url = u, .why = why};
    const bool first = atomic_load(&u->known->highest) == 0;
    const int last = atomic_load(&u->known->last_used);
    bool tried[DB_SERVERS_MAX] = {false};
    int left = u->n;
    if (u->fault) {
        snprintf(why, DB_REASON_MAX, "%s %s", u->setting, u->fault);
        return OPEN_WRONG;
    }
    for (int k = 0; k < 2 * u->n && (first || !c->pg); k++) {
        const int i = (last + k) % u->n;
        if (tried[i] || (k < u->n && atomic_load(&u->known->state[i]) == DB_SERVER_AWAY))
            continue;
        tried[i] = true;
        try_server(&a, i, left > 1 ? deadline_in_ms(deadline_left_ms(deadline) / left) : deadline,
                   c);
        left--;
    }
    if (!c->pg)
        return a.result;
    db_servers_saw(u, c->server, c->timeline);
    atomic_store(&u->known->last_used, c->server);
    return OPEN_OK;
}
