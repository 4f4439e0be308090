/* SPDX-License-Identifier: MIT */
/* The table of settings, and how their values are read from the file and the environment. */
#include "parley/config/config.h"

#include "config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parley/base/names.h"

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
    /* sockaddr_un has room for this, the suffix of a socket while it is made, and a NUL. */
    SOCKET_PATH_MAX = 103,
    URL_MAX = 4096,
    MINUTE_MS = 60 * 1000
};
#define GIB (1024 * (int64_t)MIB)

#define ROW(type, var, field, fallback, min, max, help)                                        \
    {                                                                                          \
        var, SETTING_##type, offsetof(struct config, field), fallback, min, max, {NULL, NULL}, \
            help                                                                               \
    }
#define CHOICE(var, field, fallback, no, yes, help)                                          \
    {                                                                                        \
        var, SETTING_CHOICE, offsetof(struct config, field), fallback, 0, 1, {no, yes}, help \
    }

static const struct setting settings[] = {
    ROW(URL, "DATABASE_URL", database_url, NULL, 1, URL_MAX,
        "PostgreSQL as the login that serves, as a URI or in libpq's keyword form"),
    ROW(URL, "DATABASE_ADMIN_URL", database_admin_url, "", 0, URL_MAX,
        "the same as the owner of the tables, for migrate, key and tenant; empty: DATABASE_URL"),
    ROW(URL, "REDIS_URL", redis_url, "", 0, URL_MAX, "Redis, redis:// or unix://; empty: none"),
    ROW(TEXT, "PARLEY_LISTEN", listen, "/run/parley/parley.sock", 1, SOCKET_PATH_MAX,
        "path of the FastCGI socket for nginx"),
    ROW(TEXT, "PARLEY_ADMIN", admin, "/run/parley/admin.sock", 1, SOCKET_PATH_MAX,
        "path of the FastCGI socket for the operations routes"),
    ROW(NUMBER, "PARLEY_WORKERS", workers, "0", 0, 256, "worker processes; 0: one per core"),
    ROW(NUMBER, "PARLEY_THREADS", threads, "24", 1, 256, "handler threads per worker"),
    ROW(NUMBER, "PARLEY_POOL_MIN", pool_min, "2", 0, 200,
        "PostgreSQL connections that a worker keeps open"),
    ROW(NUMBER, "PARLEY_POOL_MAX", pool_max, "20", 1, 200,
        "most PostgreSQL connections that a worker opens"),
    ROW(NUMBER, "PARLEY_POOL_IDLE", pool_idle, "600", 1, 86400,
        "seconds after which an idle connection above the minimum is closed"),
    ROW(NUMBER, "PARLEY_POOL_LIFETIME", pool_lifetime, "1800", 1, 604800,
        "seconds after which any PostgreSQL connection is replaced"),
    ROW(NUMBER, "PARLEY_SESSION_TTL", session_ttl, "604800", 1, 3153600000,
        "seconds that a session lives unless it sets its own time"),
    ROW(SIZE, "PARLEY_MAX_BODY", max_body, "1048576", KIB, 16 * MIB,
        "largest request body; nginx must allow as much"),
    ROW(SIZE, "PARLEY_PAGE_BYTES", page_bytes, "8MiB", 64 * KIB, 16 * MIB,
        "most bytes of messages in one answer"),
    ROW(NUMBER, "PARLEY_ITEMS", items_max, "100", 1, 1000,
        "most items in one request to /v1/conversations"),
    CHOICE("PARLEY_HOSTS", hosts_one, "many", "many", "one",
           "one: memory may answer reads without PostgreSQL while no other host is registered"),
    ROW(SIZE, "PARLEY_MEMORY", memory, "64MiB", 0, 64 * GIB,
        "memory for sessions, shared by the workers and allocated at the start; 0: none"),
    ROW(NUMBER, "PARLEY_CACHE_SECONDS", cache_s, "600", 1, 604800,
        "most seconds that memory or Redis keeps a session"),
    CHOICE("PARLEY_AUTH", auth_keys, "keys", "off", "keys",
           "keys: a request needs an API key; off: it needs none, and must come from this machine"),
    ROW(NUMBER, "PARLEY_KEYS_STALE", keys_stale, "300", 0, 86400,
        "seconds for which a key that was valid may read from the caches without PostgreSQL"),
    ROW(NUMBER, "PARLEY_TENANT_REQUESTS", tenant_requests, "0", 0, 1000000,
        "most requests per second of a tenant on this host; 0: any number"),
    ROW(NUMBER, "PARLEY_TENANT_SESSIONS", tenant_sessions, "0", 0, 1000000000,
        "most open sessions of a tenant; 0: any number"),
    CHOICE("PARLEY_PREPARE", prepare, "on", "off", "on",
           "prepared statements; off for poolers that do not support them"),
    ROW(NUMBER, "PARLEY_REQUEST_MS", request_ms, "10000", 10, 10 * MINUTE_MS,
        "time for a request, in milliseconds"),
    ROW(NUMBER, "PARLEY_QUEUE_MS", queue_ms, "1000", 0, 10 * MINUTE_MS,
        "longest wait of a request for a handler, else 503; 0: PARLEY_REQUEST_MS"),
    ROW(NUMBER, "PARLEY_SLOW_MS", slow_ms, "1000", 0, 10 * MINUTE_MS,
        "a request that takes at least this long is logged; 0: every request"),
    ROW(NUMBER, "PARLEY_ACQUIRE_MS", acquire_ms, "1000", 1, 10 * MINUTE_MS,
        "longest wait for a connection of the pool"),
    ROW(NUMBER, "PARLEY_STATEMENT_MS", statement_ms, "5000", 1, 10 * MINUTE_MS,
        "longest time for one statement"),
    ROW(NUMBER, "PARLEY_CONNECT_MS", connect_ms, "2000", 1, MINUTE_MS,
        "longest time to connect to PostgreSQL"),
    ROW(NUMBER, "PARLEY_REDIS_MS", redis_ms, "250", 1, MINUTE_MS,
        "longest time to connect to Redis, and for a command"),
    ROW(NUMBER, "PARLEY_DRAIN", drain_s, "25", 0, 3600,
        "seconds that a stopping worker serves open connections; above nginx's keepalive_time"),
    ROW(NUMBER, "PARLEY_RECYCLE", recycle, "1000000", 0, 1000000000000,
        "requests after which a worker is replaced, plus or minus a tenth; 0: never"),
    ROW(NUMBER, "PARLEY_SWEEP", sweep_s, "60", 0, 86400,
        "seconds between two deletions of expired sessions; 0: never"),
};

const struct setting *config_settings(size_t *n)
{
    *n = ARRAY_LEN(settings);
    return settings;
}

static const struct setting *setting_named(struct sv name)
{
    const size_t i = names_index(&NAMES(settings), name);
    return i < ARRAY_LEN(settings) ? &settings[i] : NULL;
}

/* The texts given so far, and a line for each fault. */
struct loading {
    struct arena *texts; /* of the configuration */
    const char *value[ARRAY_LEN(settings)];
    char *why;
    size_t why_n;
    bool faulty;
};

static void PRINTF_LIKE(2, 3) add_fault(struct loading *l, const char *fmt, ...)
{
    const size_t used = strlen(l->why), start = used + (used > 0);
    va_list ap;
    l->faulty = true;
    /* No room for a newline and a character: this fault is left out. */
    if (start + 1 >= l->why_n)
        return;
    if (used > 0)
        memcpy(l->why + used, "\n", 2);
    va_start(ap, fmt);
    vsnprintf(l->why + start, l->why_n - start, fmt, ap);
    va_end(ap);
}

/* Settings of earlier versions, and what replaces them. */
static const struct {
    const char *name, *instead;
} removed[] = {
    {"PARLEY_DB_ROLE", "let DATABASE_URL log in as the serving role, and DATABASE_ADMIN_URL as the "
                       "owner"},
    {"PARLEY_RETRY_GUARD", "a client that repeats a request sends an Idempotency-Key with it"},
};

static void add_unknown(struct loading *l, const char *where, struct sv name)
{
    const char *nearest = names_nearest(&NAMES(settings), name);
    const size_t old = names_index(&NAMES(removed), name);
    if (old < ARRAY_LEN(removed))
        add_fault(l, "%s%s was removed: %s", where, removed[old].name, removed[old].instead);
    else
        add_fault(l, "%s%.*s: there is no such setting%s%s%s", where, SV_ARG(name),
                  nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static void store_value(struct loading *l, const struct setting *s, struct sv text)
{
    const char *copy = arena_dup(l->texts, text).p;
    l->value[s - settings] = copy;
    if (!copy)
        add_fault(l, "out of memory");
}

/* One line of the file: blank, "# …" or NAME=value. where: "FILE line N: ". */
static void read_line(struct loading *l, const char *line, const char *where)
{
    struct sv value = sv_trim((struct sv){line, strcspn(line, "\r\n")});
    if (value.n == 0 || value.p[0] == '#')
        return;
    const struct sv name = sv_trim(sv_cut(&value, '='));
    const struct setting *s = setting_named(name);
    if (!value.p)
        add_fault(l, "%sis not NAME=value", where);
    else if (!s)
        add_unknown(l, where, name);
    else if (l->value[s - settings])
        add_fault(l, "%s%s is set twice", where, s->name);
    else
        store_value(l, s, sv_trim(value));
}

/* O_NONBLOCK, and regular files only: the supervisor, which reloads the file, must not wait. */
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

static void read_file(struct loading *l, const char *file)
{
    char *line = NULL;
    size_t size = 0;
    FILE *f = open_file(file);
    if (!f) {
        add_fault(l, "%s: cannot be read: %s", file,
                  errno == EINVAL ? "not a regular file" : strerror(errno));
        return;
    }
    for (int n = 1; getline(&line, &size, f) >= 0; n++) {
        char where[512];
        snprintf(where, sizeof where, "%s line %d: ", file, n);
        read_line(l, line, where);
    }
    if (ferror(f))
        add_fault(l, "%s: cannot be read", file);
    free(line);
    fclose(f);
}

static void read_environment(struct loading *l)
{
    for (char **entry = environ; entry && *entry; entry++) {
        struct sv value = sv_from(*entry);
        const struct sv name = sv_cut(&value, '=');
        const struct setting *s = setting_named(name);
        if (s)
            store_value(l, s, value);
        else if (sv_starts_with(name, SV("PARLEY_")) && !sv_eq(name, SV("PARLEY_CONFIG")))
            add_unknown(l, "", name);
    }
}

static bool is_database_url(const char *url)
{
    return strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0 ||
           strchr(url, '=');
}

/* Rules that one row of the table cannot express. */
static void check_combinations(const struct config *c, struct loading *l)
{
    const struct {
        bool wrong;
        const char *why;
    } rules[] = {
        {!is_database_url(c->database_url),
         "DATABASE_URL must begin with postgresql:// or be of the form host=… dbname=…"},
        {c->database_admin_url[0] && !is_database_url(c->database_admin_url),
         "DATABASE_ADMIN_URL must begin with postgresql:// or be of the form host=… dbname=…, or "
         "be empty"},
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
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].wrong)
            add_fault(l, "%s", rules[i].why);
}

static void apply_values(struct config *c, struct loading *l)
{
    bool all_valid = true;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char why[256];
        const struct setting *s = &settings[i];
        const char *value = l->value[i] ? l->value[i] : s->fallback;
        if (value && config_set(c, s, value, why, sizeof why))
            continue;
        all_valid = false;
        if (value)
            add_fault(l, "%s", why);
        else
            add_fault(l, "%s is not set: %s", s->name, s->help);
    }
    if (all_valid)
        check_combinations(c, l);
}

enum err config_load(struct config *c, const char *file, char *why, size_t why_n)
{
    *c = (struct config){.file = file, .texts = arena_create(SIZE_MAX)};
    struct loading l = {.texts = c->texts, .why = why, .why_n = why_n};
    why[0] = '\0';
    if (c->texts && file)
        read_file(&l, file);
    if (c->texts)
        read_environment(&l);
    if (c->texts)
        apply_values(c, &l);
    else
        add_fault(&l, "out of memory");
    if (l.faulty)
        config_free(c);
    return l.faulty ? ERR_INVALID : ERR_NONE;
}

void config_free(struct config *c)
{
    arena_destroy(c->texts);
    memset(c, 0, sizeof *c);
}
