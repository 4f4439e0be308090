/* SPDX-License-Identifier: MIT */
/* A connection string: the servers that it names, each for itself, and its options. */
#include "db_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* What follows "synchronous_commit=", in one of the forms that PostgreSQL knows; else NULL. */
static const char *commit_in(const char *word)
{
    static const char name[] = "synchronous_commit=";
    const char *at = name;
    word += strncmp(word, "-c", 2) == 0 || strncmp(word, "--", 2) == 0 ? 2 : 0;
    while (*at && (*word == '-' ? '_' : tolower((unsigned char)*word)) == *at) {
        word++;
        at++;
    }
    return *at ? NULL : word;
}

/* A connection sets synchronous_commit itself, as the options of the URL have it or "on", and they
 * are not sent if they hold nothing else: a pooler may refuse any. */
static void take_options(struct db_url *u, const char *options)
{
    static const char spaces[] = " \t\n\v\f\r";
    snprintf(u->commit, sizeof(u->commit), "on");
    for (const char *at = options; at && *(at += strspn(at, spaces));) {
        const int n = (int)strcspn(at, spaces);
        const char *commit = commit_in(at);
        if (commit)
            snprintf(u->commit, sizeof(u->commit), "%.*s", n - (int)(commit - at), commit);
        else if (n != 2 || strncmp(at, "-c", 2) != 0)
            u->options = options;
        at += n;
    }
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

static char **value_of(PQconninfoOption *options, const char *keyword)
{
    while (strcmp(options->keyword, keyword) != 0)
        options++;
    return &options->val;
}

/* Adds what libpq finds elsewhere: a service file and the environment may name servers, too. It
 * refuses this target_session_attrs before it looks up a name or connects. */
static void complete(struct db_url *u, const char *text)
{
    const char *const keys[] = {"dbname", "target_session_attrs", NULL};
    const char *const values[] = {text, "none", NULL};
    PGconn *pg = PQconnectStartParams(keys, values, 1);
    PQconninfoOption *found = pg ? PQconninfo(pg) : NULL;
    PQfinish(pg);
    /* Without a user, libpq could not read all of it, and says so on each attempt to connect. */
    if (!found || !*value_of(found, "user")) {
        PQconninfoFree(found);
        return;
    }
    char **port = value_of(found, "port");
    if (!*value_of(u->parsed, "port") && *port && strcmp(*port, "5432") == 0) {
        PQfreemem(*port); /* nobody asked for it: it is no part of the name */
        *port = NULL;
    }
    PQconninfoFree(u->parsed);
    u->parsed = found;
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
    if (u->parsed)
        complete(u, text);
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
