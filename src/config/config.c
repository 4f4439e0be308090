/* SPDX-License-Identifier: MIT */
#include "parley/config/config.h"

#include "config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parley/base/sv.h"

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
    /* What fits sockaddr_un with the suffix of the name that a socket is made under, and a NUL. */
    SOCKET_PATH_MAX = 103,
    URL_MAX = 4096,
    MINUTE_MS = 60 * 1000
};
#define GIB (1024 * (int64_t)MIB)

#define URL(var, field, fallback, min, help)                                                    \
    {                                                                                           \
        var, SETTING_URL, offsetof(struct config, field), fallback, min, URL_MAX, {NULL, NULL}, \
            help                                                                                \
    }
#define TEXT(var, field, fallback, min, max, help)                                                \
    {                                                                                             \
        var, SETTING_TEXT, offsetof(struct config, field), fallback, min, max, {NULL, NULL}, help \
    }
#define NUMBER(var, field, fallback, min, max, help)                                           \
    {                                                                                          \
        var, SETTING_NUMBER, offsetof(struct config, field), fallback, min, max, {NULL, NULL}, \
            help                                                                               \
    }
#define SIZE(var, field, fallback, min, max, help)                                                \
    {                                                                                             \
        var, SETTING_SIZE, offsetof(struct config, field), fallback, min, max, {NULL, NULL}, help \
    }
#define CHOICE(var, field, fallback, no, yes, help)                                          \
    {                                                                                        \
        var, SETTING_CHOICE, offsetof(struct config, field), fallback, 0, 1, {no, yes}, help \
    }

static const struct setting settings[] = {
    URL("DATABASE_URL", database_url, NULL, 1, "PostgreSQL, as a URI or in libpq's keyword form"),
    URL("REDIS_URL", redis_url, "", 0, "Redis, redis:// or unix://; empty: none"),
    TEXT("PARLEY_LISTEN", listen, "/run/parley/parley.sock", 1, SOCKET_PATH_MAX,
         "path of the FastCGI socket for nginx"),
    TEXT("PARLEY_ADMIN", admin, "/run/parley/admin.sock", 1, SOCKET_PATH_MAX,
         "path of the FastCGI socket for the operations routes"),
    NUMBER("PARLEY_WORKERS", workers, "0", 0, 256, "worker processes; 0: one a core"),
    NUMBER("PARLEY_THREADS", threads, "24", 1, 256, "handler threads a worker"),
    NUMBER("PARLEY_POOL_MIN", pool_min, "2", 0, 200, "PostgreSQL connections a worker keeps open"),
    NUMBER("PARLEY_POOL_MAX", pool_max, "20", 1, 200, "most PostgreSQL connections a worker opens"),
    NUMBER("PARLEY_POOL_IDLE", pool_idle, "600", 1, 86400,
           "seconds after which an idle connection above the minimum is closed"),
    NUMBER("PARLEY_POOL_LIFETIME", pool_lifetime, "1800", 1, 604800,
           "seconds after which any PostgreSQL connection is replaced"),
    NUMBER("PARLEY_SESSION_TTL", session_ttl, "604800", 1, 3153600000,
           "seconds that a session lives which asks for nothing else"),
    SIZE("PARLEY_MAX_BODY", max_body, "1048576", KIB, 16 * MIB,
         "largest request body; nginx must allow as much"),
    SIZE("PARLEY_PAGE_BYTES", page_bytes, "8MiB", 64 * KIB, 16 * MIB,
         "most bytes of messages in one answer"),
    NUMBER("PARLEY_ITEMS", items_max, "100", 1, 1000,
           "most items in one request to /v1/conversations"),
    CHOICE("PARLEY_RETRY_GUARD", retry_guard, "off", "off", "on",
           "answer what looks like a repeated append of OpenAI's clients as before; can lose one"),
    CHOICE("PARLEY_HOSTS", hosts_one, "many", "many", "one",
           "one: this is the only host on its database, and sessions are kept in its memory, too"),
    SIZE("PARLEY_MEMORY", memory, "64MiB", MIB, 64 * GIB,
         "with PARLEY_HOSTS=one: memory for sessions, taken whole at the start"),
    CHOICE("PARLEY_AUTH", auth_keys, "keys", "off", "keys",
           "keys: a request needs an API key; off: only this machine is answered, without one"),
    NUMBER("PARLEY_KEYS_STALE", keys_stale, "300", 0, 86400,
           "seconds that keys last known to be good may read from the tiers without PostgreSQL"),
    NUMBER("PARLEY_TENANT_REQUESTS", tenant_requests, "0", 0, 1000000,
           "requests a second of a tenant, on this host; 0: any number"),
    NUMBER("PARLEY_TENANT_SESSIONS", tenant_sessions, "0", 0, 1000000000,
           "open sessions of a tenant; 0: any number"),
    TEXT("PARLEY_DB_ROLE", db_role, "parley_app", 0, 63,
         "role that connections take on; empty: that of the login"),
    CHOICE("PARLEY_PREPARE", prepare, "on", "off", "on",
           "prepared statements; off for poolers that forbid them"),
    NUMBER("PARLEY_REQUEST_MS", request_ms, "10000", 10, 10 * MINUTE_MS,
           "time for a request, in milliseconds"),
    NUMBER("PARLEY_QUEUE_MS", queue_ms, "1000", 0, 10 * MINUTE_MS,
           "longest time that a request may wait for a handler, else 503; 0: PARLEY_REQUEST_MS"),
    NUMBER("PARLEY_SLOW_MS", slow_ms, "1000", 0, 10 * MINUTE_MS,
           "a request that took at least so long is logged; 0: every request"),
    NUMBER("PARLEY_ACQUIRE_MS", acquire_ms, "1000", 1, 10 * MINUTE_MS,
           "longest wait for a connection of the pool"),
    NUMBER("PARLEY_STATEMENT_MS", statement_ms, "5000", 1, 10 * MINUTE_MS,
           "longest time for one statement"),
    NUMBER("PARLEY_CONNECT_MS", connect_ms, "2000", 1, MINUTE_MS,
           "longest time to connect to PostgreSQL"),
    NUMBER("PARLEY_REDIS_MS", redis_ms, "250", 1, MINUTE_MS,
           "longest time to connect to Redis, and for a command"),
    NUMBER("PARLEY_DRAIN", drain_s, "25", 0, 3600,
           "seconds that a stopping worker serves what nginx holds; more than its keepalive_time"),
    NUMBER("PARLEY_RECYCLE", recycle, "1000000", 0, 1000000000000,
           "requests, give or take a tenth, after which a worker is replaced; 0: never"),
    NUMBER("PARLEY_SWEEP", sweep_s, "60", 0, 86400,
           "seconds between two deletions of expired sessions; 0: never"),
};

const struct setting *config_settings(size_t *n)
{
    *n = ARRAY_LEN(settings);
    return settings;
}

static const struct setting *find(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strlen(settings[i].name) == n && memcmp(settings[i].name, name, n) == 0)
            return &settings[i];
    return NULL;
}

/* Which settings were given, and where. */
struct given {
    const char *value[ARRAY_LEN(settings)];
};

static enum err unknown(const char *where, const char *name, size_t n, char *why, size_t why_n)
{
    const char *near = config_nearest(name, n);
    snprintf(why, why_n, "%s%.*s: there is no such setting%s%s%s", where, (int)n, name,
             near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return ERR_INVALID;
}

static const char *own(struct config *c, const char *text)
{
    char **grown = realloc(c->owned, (c->n_owned + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    c->owned = grown;
    char *copy = strdup(text);
    if (copy)
        c->owned[c->n_owned++] = copy;
    return copy;
}

/* One line of the file: blank, "# …" or NAME=value. where: "FILE line N: ". */
static enum err take_line(struct config *c, struct given *g, char *line, const char *where,
                          char *why, size_t why_n)
{
    struct sv value = sv_trim((struct sv){line, strcspn(line, "\r\n")});
    if (value.n == 0 || value.p[0] == '#')
        return ERR_NONE;
    struct sv name = sv_trim(sv_cut(&value, '='));
    if (!value.p) {
        snprintf(why, why_n, "%sis not NAME=value", where);
        return ERR_INVALID;
    }
    const struct setting *s = find(name.p, name.n);
    if (!s)
        return unknown(where, name.p, name.n, why, why_n);
    const char **to = &g->value[s - settings];
    if (*to) {
        snprintf(why, why_n, "%s%s is set twice", where, s->name);
        return ERR_INVALID;
    }
    value = sv_trim(value);
    line[value.p - line + (ptrdiff_t)value.n] = '\0';
    *to = own(c, value.p);
    return *to ? ERR_NONE : ERR_NOMEM;
}

/* Not what one has to wait for: a reload reads it in the process that must hear of signals. */
static FILE *open_file(const char *file)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    FILE *f = NULL;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        errno = EINVAL;
    else
        f = fdopen(fd, "r");
    if (!f)
        close(fd);
    return f;
}

static enum err read_file(struct config *c, struct given *g, const char *file, char *why,
                          size_t why_n)
{
    char *line = NULL;
    size_t size = 0;
    enum err e = ERR_NONE;
    FILE *f = open_file(file);
    if (!f) {
        snprintf(why, why_n, "%s: cannot be read: %s", file,
                 errno == EINVAL ? "not a regular file" : strerror(errno));
        return ERR_INVALID;
    }
    for (int n = 1; e == ERR_NONE && getline(&line, &size, f) >= 0; n++) {
        char where[512];
        snprintf(where, sizeof where, "%s line %d: ", file, n);
        e = take_line(c, g, line, where, why, why_n);
    }
    if (e == ERR_NONE && ferror(f)) {
        snprintf(why, why_n, "%s: cannot be read", file);
        e = ERR_INVALID;
    }
    free(line);
    fclose(f);
    return e;
}

static enum err read_environment(struct config *c, struct given *g, char *why, size_t why_n)
{
    for (char **entry = environ; entry && *entry; entry++) {
        size_t n = strcspn(*entry, "=");
        const struct setting *s = find(*entry, n);
        if (s) {
            g->value[s - settings] = own(c, *entry + n + ((*entry)[n] == '='));
            if (!g->value[s - settings])
                return ERR_NOMEM;
        } else if (strncmp(*entry, "PARLEY_", 7) == 0 &&
                   strncmp(*entry, "PARLEY_CONFIG=", 14) != 0) {
            return unknown("", *entry, n, why, why_n);
        }
    }
    return ERR_NONE;
}

/* What one row of the table cannot say. */
static enum err cross_check(const struct config *c, char *why, size_t why_n)
{
    const struct {
        bool wrong;
        const char *why;
    } rules[] = {
        {strncmp(c->database_url, "postgresql://", 13) != 0 &&
             strncmp(c->database_url, "postgres://", 11) != 0 && !strchr(c->database_url, '='),
         "DATABASE_URL must begin with postgresql:// or be of the form host=… dbname=…"},
        {strncmp(c->redis_url, "rediss://", 9) == 0,
         "REDIS_URL: rediss:// needs TLS, which parley's Redis library does not have; use redis:// "
         "on a network you trust, or unix://"},
        {c->redis_url[0] && strncmp(c->redis_url, "rediss://", 9) != 0 &&
             strncmp(c->redis_url, "redis://", 8) != 0 && strncmp(c->redis_url, "unix://", 7) != 0,
         "REDIS_URL must begin with redis:// or unix://, or be empty"},
        {strcmp(c->listen, c->admin) == 0, "PARLEY_LISTEN and PARLEY_ADMIN must differ"},
        {c->pool_min > c->pool_max, "PARLEY_POOL_MIN must not be above PARLEY_POOL_MAX"},
        {c->acquire_ms > c->request_ms, "PARLEY_ACQUIRE_MS must not be above PARLEY_REQUEST_MS"},
        {c->statement_ms > c->request_ms,
         "PARLEY_STATEMENT_MS must not be above PARLEY_REQUEST_MS"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].wrong) {
            snprintf(why, why_n, "%s", rules[i].why);
            return ERR_INVALID;
        }
    }
    return ERR_NONE;
}

static enum err apply(struct config *c, const struct given *g, char *why, size_t why_n)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        const char *value = g->value[i] ? g->value[i] : s->fallback;
        if (!value) {
            snprintf(why, why_n, "%s is not set: %s", s->name, s->help);
            return ERR_INVALID;
        }
        enum err e = config_set(c, s, value, why, why_n);
        if (e != ERR_NONE)
            return e;
    }
    return cross_check(c, why, why_n);
}

enum err config_load(struct config *c, const char *file, char *why, size_t why_n)
{
    struct given g = {{NULL}};
    *c = (struct config){.file = file};
    snprintf(why, why_n, "out of memory");
    enum err e = file ? read_file(c, &g, file, why, why_n) : ERR_NONE;
    if (e == ERR_NONE)
        e = read_environment(c, &g, why, why_n);
    if (e == ERR_NONE)
        e = apply(c, &g, why, why_n);
    if (e != ERR_NONE)
        config_free(c);
    else
        why[0] = '\0';
    return e;
}

void config_free(struct config *c)
{
    for (size_t i = 0; i < c->n_owned; i++)
        free(c->owned[i]);
    free(c->owned);
    memset(c, 0, sizeof *c);
}
