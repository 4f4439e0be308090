/* SPDX-License-Identifier: MIT */
/* The table of settings. Reads a value from its text. Prints the settings for people: --help,
 * from which docs/reference/configuration.md is made, and the values in force. */
#include "config_internal.h"

#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
    SOCKET_PATH_MAX = 107, /* sockaddr_un has room for this and a NUL */
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
    ROW(URL, "REDIS_URL", redis_url, "", 0, URL_MAX,
        "Redis, redis://, redis+sentinel:// or unix://; empty: none"),
    ROW(TEXT, "PARLEY_LISTEN", listen, "/run/parley/parley.sock", 1, SOCKET_PATH_MAX,
        "FastCGI socket for nginx: its path, or tcp://ADDRESS:PORT"),
    ROW(TEXT, "PARLEY_ADMIN", admin, "/run/parley/admin.sock", 1, SOCKET_PATH_MAX,
        "FastCGI socket for the operations routes: as PARLEY_LISTEN"),
    ROW(TEXT, "PARLEY_HEALTH", health, "", 0, SOCKET_PATH_MAX,
        "socket that answers the operations routes over HTTP: as PARLEY_LISTEN; empty: none"),
    ROW(TEXT, "PARLEY_LISTEN_ALLOW", listen_allow, "", 0, URL_MAX,
        "networks whose nginx may connect over TCP, besides this machine, such as 10.1.0.0/16"),
    ROW(TEXT, "PARLEY_OPERATIONS_ALLOW", operations_allow, "", 0, URL_MAX,
        "networks whose clients may ask for the operations routes, besides this machine"),
    ROW(NUMBER, "PARLEY_WORKERS", workers, "0", 0, 256,
        "worker processes; 0: one for each two cores, rounded up"),
    ROW(NUMBER, "PARLEY_THREADS", threads, "96", 1, 256, "handler threads per worker"),
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
    ROW(SIZE, "PARLEY_MAX_BODY", max_body, "12MiB", KIB, 16 * MIB,
        "largest request body; nginx must allow as much"),
    ROW(SIZE, "PARLEY_BODY_MEMORY", body_memory, "64MiB", MIB, 64 * GIB,
        "memory of a worker for bodies above 64 KiB, each counted 4 times; when it is full: 503"),
    ROW(SIZE, "PARLEY_MAX_STATE", max_state, "256KiB", KIB, MIB,
        "largest state of a user, and largest summary"),
    ROW(SIZE, "PARLEY_PAGE_BYTES", page_bytes, "16MiB", 64 * KIB, 16 * MIB,
        "most bytes of messages in one answer"),
    ROW(NUMBER, "PARLEY_ITEMS", items_max, "100", 1, 1000,
        "most items in one request to /v1/conversations"),
    CHOICE("PARLEY_ROLES", known_roles, "any", "any", "known",
           "known: a message's role must be one that OpenAI's or LangChain's messages have"),
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
    ROW(NUMBER, "PARLEY_SESSION_MESSAGES", session_messages, "0", 0, 1000000000,
        "most messages of a session; 0: any number"),
    ROW(NUMBER, "PARLEY_METRICS_TENANTS", metrics_tenants, "0", 0, 1000,
        "most tenants whose requests the metrics count one by one; 0: none is counted"),
    CHOICE("PARLEY_SEARCH", search, "off", "off", "on",
           "on: messages can be searched, once parley search build has made their index"),
    ROW(TEXT, "PARLEY_CORS_ORIGINS", cors_origins, "", 0, URL_MAX,
        "origins of pages whose scripts may call parley, separated by spaces or commas; *: all"),
    CHOICE("PARLEY_PREPARE", prepare, "on", "off", "on",
           "prepared statements; off for poolers that do not support them"),
    ROW(NUMBER, "PARLEY_REQUEST_MS", request_ms, "10000", 10, 10 * MINUTE_MS,
        "time for a request, in milliseconds"),
    ROW(NUMBER, "PARLEY_QUEUE_MS", queue_ms, "1000", 0, 10 * MINUTE_MS,
        "longest wait of a request for a handler, else 503; 0: PARLEY_REQUEST_MS"),
    ROW(NUMBER, "PARLEY_SLOW_MS", slow_ms, "1000", 0, 10 * MINUTE_MS,
        "a request that takes at least this long is logged; 0: every request"),
    CHOICE("PARLEY_LOG", log_debug, "info", "info", "debug",
           "debug: a request that was refused (4xx) is logged, too, with the reason"),
    ROW(TEXT, "PARLEY_LOG_FILE", log_file, "", 0, URL_MAX,
        "file of the log, opened anew by a reload; empty: standard error"),
    ROW(NUMBER, "PARLEY_ACQUIRE_MS", acquire_ms, "1000", 1, 10 * MINUTE_MS,
        "longest wait for other writes and for a connection, together"),
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

_Static_assert(ARRAY_LEN(settings) <= SETTINGS_MAX, "a loader has room for all values");

const struct names config_names = {settings, ARRAY_LEN(settings), sizeof(settings[0])};

/* ---- from text to value ---- */

static bool setting_is_text(const struct setting *s)
{
    return s->type == SETTING_TEXT || s->type == SETTING_URL;
}

static const char *const units[] = {"KiB", "MiB", "GiB"}; /* each 1,024 of the one before */

/* A size in the largest unit that gives a whole number; any other number as it is. */
static void format_number(const struct setting *s, int64_t n, char out[32])
{
    const char *unit = s->type == SETTING_SIZE ? " bytes" : "";
    if (s->type == SETTING_SIZE)
        for (size_t i = 0; i < ARRAY_LEN(units) && n >= 1024 && n % 1024 == 0; i++, n /= 1024)
            unit = units[i];
    snprintf(out, 32, "%" PRId64 "%s", n, unit);
}

/* The values allowed, such as "1 to 256" or "off or keys". */
static void write_allowed(const struct setting *s, char *out, size_t out_n)
{
    char min[32], max[32];
    if (s->type == SETTING_CHOICE) {
        snprintf(out, out_n, "%s or %s", s->choices[0], s->choices[1]);
        return;
    }
    format_number(s, s->min, min);
    format_number(s, s->max, max);
    snprintf(out, out_n, "%s to %s%s", min, max, setting_is_text(s) ? " characters" : "");
}

/* Takes the unit off a size; returns its factor. */
static int64_t cut_unit(struct sv *t)
{
    int64_t factor = 1;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        const size_t n = strlen(units[i]);
        factor *= 1024;
        if (t->n > n && memcmp(t->p + t->n - n, units[i], n) == 0) {
            t->n -= n;
            return factor;
        }
    }
    return 1;
}

static bool parse_number(const struct setting *s, const char *text, int64_t *out)
{
    struct sv t = sv_from(text);
    int64_t n, factor = s->type == SETTING_SIZE ? cut_unit(&t) : 1;
    if (!sv_to_i64(t, &n) || n < 0 || n > INT64_MAX / factor)
        return false;
    *out = n * factor;
    return *out >= s->min && *out <= s->max;
}

static bool parse_text(const struct setting *s, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return n >= (size_t)s->min && n <= (size_t)s->max;
}

static bool parse_value(struct config *c, const struct setting *s, const char *text)
{
    void *field = (char *)c + s->offset;
    if (s->type == SETTING_CHOICE) {
        *(bool *)field = strcmp(text, s->choices[1]) == 0;
        return *(bool *)field || strcmp(text, s->choices[0]) == 0;
    }
    if (!setting_is_text(s))
        return parse_number(s, text, field);
    *(const char **)field = text;
    return parse_text(s, text);
}

/* The beginning of text, without control characters. */
static void copy_printable(const char *text, char *out, size_t out_n)
{
    snprintf(out, out_n, "%s", text);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

bool config_set(struct config *c, const struct setting *s, const char *text, char *why,
                size_t why_n)
{
    char allowed[96], shown[80];
    if (parse_value(c, s, text))
        return true;
    copy_printable(text, shown, sizeof shown);
    write_allowed(s, allowed, sizeof allowed);
    /* A URL may hold a password. */
    if (s->type == SETTING_URL)
        snprintf(why, why_n, "%s must have %s", s->name, allowed);
    else
        snprintf(why, why_n, "%s is \"%s\"; it may be %s%s", s->name, shown, allowed,
                 s->type == SETTING_SIZE ? ", in bytes or with KiB, MiB or GiB" : "");
    return false;
}

void config_unset(struct config *c, const struct setting *s)
{
    if (setting_is_text(s))
        *(const char **)((char *)c + s->offset) = NULL;
}

/* ---- for people ---- */

void config_help(FILE *out)
{
    for (const struct setting *s = settings; s < settings + ARRAY_LEN(settings); s++) {
        const char *fallback = s->fallback ? s->fallback : "required";
        char allowed[96] = "";
        if (!setting_is_text(s))
            write_allowed(s, allowed, sizeof allowed);
        fprintf(out, "  %-24s%s\n  %-24s[%s%s%s]\n", s->name, s->help, "",
                fallback[0] ? fallback : "empty", allowed[0] ? "; " : "", allowed);
    }
}

/* A copy of url with its passwords replaced by ***, rather too much than too little. To be freed;
 * NULL: no memory. */
static char *mask_url(const char *url)
{
    /* scheme://user:PASSWORD@host up to the last @, or ?password=PASSWORD& */
    static const char of_url[] = "://[^:]*:(.*)@|password=([^&]*)";
    /* password = PASSWORD, perhaps in quotes; a backslash escapes (libpq's manual, 34.1.1.1). */
    static const char of_keywords[] = "password[ \t]*=[ \t]*('([^'\\]|\\\\.)*'?|([^ \t\\]|\\\\.)*)";
    char *text = NULL;
    size_t n;
    regex_t compiled;
    regmatch_t match[3];
    if (regcomp(&compiled, strstr(url, "://") ? of_url : of_keywords, REG_EXTENDED) != 0)
        return NULL;
    FILE *out = open_memstream(&text, &n);
    while (out && regexec(&compiled, url, ARRAY_LEN(match), match, 0) == 0) {
        const regmatch_t *secret = &match[match[1].rm_so < 0 ? 2 : 1];
        fprintf(out, "%.*s***", (int)secret->rm_so, url);
        url += secret->rm_eo;
    }
    regfree(&compiled);
    if (!out)
        return NULL;
    fputs(url, out);
    fclose(out);
    return text;
}

void config_each(const struct config *c, bool urls, config_each_fn *each, void *arg)
{
    for (const struct setting *s = settings; s < settings + ARRAY_LEN(settings); s++) {
        const void *field = (const char *)c + s->offset;
        if (s->type == SETTING_NUMBER || s->type == SETTING_SIZE) {
            each(arg, s->name, NULL, *(const int64_t *)field);
        } else if (s->type == SETTING_CHOICE) {
            each(arg, s->name, s->choices[*(const bool *)field], 0);
        } else if (s->type == SETTING_TEXT) {
            each(arg, s->name, *(const char *const *)field, 0);
        } else if (urls) {
            char *masked = mask_url(*(const char *const *)field);
            each(arg, s->name, masked ? masked : "***", 0);
            free(masked);
        }
    }
}
