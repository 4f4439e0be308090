/* SPDX-License-Identifier: MIT */
/* A connection string: the servers that it names, each for itself, and its options. */
#include "db_internal.h"

#include <stdio.h>
#include <string.h>

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
        u->fault = " names more than 8 servers, or hosts and ports that differ in number";
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
