/* SPDX-License-Identifier: MIT */
/* A connection string: the servers that it names, each for itself, and its options. */
#include "db_internal.h"

#include <stdio.h>
#include <string.h>

/* Cuts a list at its commas. Returns the number of its entries; 0: there is no list. */
static int cut_list(char *list, const char *entries[DB_SERVERS_MAX])
{
    int n = 0;
    for (char *entry; (entry = strsep(&list, ",")); n++)
        if (n < DB_SERVERS_MAX)
            entries[n] = entry;
    return n;
}

/* libpq refuses this target_session_attrs before it looks up a name or connects. NULL: no memory.
 */
static PQconninfoOption *find_options(const char *text)
{
    const char *const keys[] = {"dbname", "target_session_attrs", NULL};
    const char *const values[] = {text, "none", NULL};
    PGconn *pg = PQconnectStartParams(keys, values, 1);
    PQconninfoOption *found = pg ? PQconninfo(pg) : NULL;
    PQfinish(pg);
    return found;
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
        const bool with_port = at && *at && strcmp(at, "5432") != 0;
        snprintf(u->name[i], DB_SERVER_NAME_MAX, "%s%s%s", name && *name ? name : "default host",
                 with_port ? ":" : "", with_port ? at : "");
    }
}

bool db_url_parse(struct db_url *u, const char *text)
{
    static const char *const keywords[] = {"host", "hostaddr", "port", "options", "user"};
    char *values[ARRAY_LEN(keywords)] = {NULL};
    /* PQconnectStart takes text of no form that it knows for the name of a database. */
    PQconninfoOption *syntax = PQconninfoParse(text, NULL);
    u->parsed = syntax ? find_options(text) : NULL;
    const bool no_memory = syntax && !u->parsed;
    PQconninfoFree(syntax);
    for (const PQconninfoOption *o = u->parsed; o && o->keyword; o++)
        for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
            if (strcmp(o->keyword, keywords[i]) == 0)
                values[i] = o->val;
    u->options = values[3] && *values[3] ? values[3] : NULL;
    u->user = values[4];
    /* libpq's own message would repeat the text, and with it the password. */
    if (!u->user)
        u->fault = " is not a valid connection string, or names no user or an unknown service";
    else
        take_servers(u, values[0], values[1], values[2]);
    return !no_memory;
}

PGconn *db_url_connect(const struct db_url *u, int server, const char *app_name)
{
    enum { KEYWORDS_MAX = 80 }; /* libpq 17 has 53 */
    const struct {
        const char *keyword, *value;
    } own[] = {{"host", u->host[server]},       {"hostaddr", u->hostaddr[server]},
               {"port", u->port[server]},       {"options", u->options},
               {"target_session_attrs", "any"}, /* checked here */
               {"application_name", app_name},  {"client_encoding", "UTF8"}};
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
