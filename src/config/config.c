/* SPDX-License-Identifier: MIT */
/* Reads the values of the settings from the file and the environment. */
#include "config_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parley/base/net.h"

/* The texts given so far, and a line for each fault. */
struct loading {
    struct arena *texts; /* of the configuration */
    const struct setting *settings;
    struct names names;
    const char *value[SETTINGS_MAX];
    bool bad[SETTINGS_MAX];
    bool unread[SETTINGS_MAX]; /* its file has a fault, which was reported */
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
    const char *nearest = names_nearest(&l->names, name);
    const size_t old = names_index(&NAMES(removed), name);
    if (old < ARRAY_LEN(removed))
        add_fault(l, "%s%s was removed: %s", where, removed[old].name, removed[old].instead);
    else
        add_fault(l, "%s%.*s: there is no such setting%s%s%s", where, SV_ARG(name),
                  nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static void store_value(struct loading *l, size_t i, struct sv text)
{
    l->value[i] = arena_dup(l->texts, text).p;
    if (!l->value[i])
        add_fault(l, "out of memory");
}

/* The index of NAME, if name is NAME_FILE and NAME may hold a password; else names.n. */
static size_t of_value_file(const struct loading *l, struct sv name)
{
    const struct sv suffix = SV("_FILE");
    if (name.n <= suffix.n || !sv_eq((struct sv){name.p + name.n - suffix.n, suffix.n}, suffix))
        return l->names.n;
    const size_t i = names_index(&l->names, (struct sv){name.p, name.n - suffix.n});
    return i < l->names.n && l->settings[i].type == SETTING_URL ? i : l->names.n;
}

static FILE *open_regular(struct loading *l, const char *file)
{
    struct stat st;
    /* The supervisor, which reloads the file, must not wait for a writer. */
    const bool special = stat(file, &st) == 0 && !S_ISREG(st.st_mode);
    FILE *f = special ? NULL : fopen(file, "re");
    if (!f)
        add_fault(l, "%s: cannot be read: %s", file,
                  special ? "not a regular file" : strerror(errno));
    return f;
}

/* Takes the first line of a file as the value. */
static void read_value_file(struct loading *l, size_t i, struct sv path)
{
    char *line = NULL;
    size_t size = 0;
    const char *name = arena_dup(l->texts, path).p;
    FILE *f = name ? open_regular(l, name) : NULL;
    l->unread[i] = !f;
    if (!f)
        return;
    if (getline(&line, &size, f) >= 0)
        store_value(l, i, sv_trim((struct sv){line, strcspn(line, "\r\n")}));
    l->unread[i] = !l->value[i];
    if (!l->value[i])
        add_fault(l, "%s is empty: it must hold %s", name, l->settings[i].name);
    free(line);
    fclose(f);
}

/* One line of the file: blank, "# …" or NAME=value. where: "FILE line N: ". */
static void read_line(struct loading *l, const char *line, const char *where)
{
    struct sv value = sv_trim((struct sv){line, strcspn(line, "\r\n")});
    if (value.n == 0 || value.p[0] == '#')
        return;
    const struct sv name = sv_trim(sv_cut(&value, '='));
    const size_t i = names_index(&l->names, name), file = of_value_file(l, name);
    if (!value.p)
        add_fault(l, "%sis not NAME=value", where);
    else if (file < l->names.n && l->value[file])
        add_fault(l, "%s%s is set twice", where, l->settings[file].name);
    else if (file < l->names.n)
        read_value_file(l, file, sv_trim(value));
    else if (i == l->names.n)
        add_unknown(l, where, name);
    else if (l->value[i])
        add_fault(l, "%s%s is set twice", where, l->settings[i].name);
    else
        store_value(l, i, sv_trim(value));
}

static void read_file(struct loading *l, const char *file)
{
    char *line = NULL;
    size_t size = 0;
    FILE *f = open_regular(l, file);
    if (!f)
        return;
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
        const size_t i = names_index(&l->names, name), file = of_value_file(l, name);
        if (i < l->names.n)
            store_value(l, i, value);
        else if (file < l->names.n && getenv(l->settings[file].name))
            add_fault(l, "%s and %s_FILE are both set", l->settings[file].name,
                      l->settings[file].name);
        else if (file < l->names.n)
            read_value_file(l, file, value);
        else if (sv_starts_with(name, SV("PARLEY_")) && !sv_eq(name, SV("PARLEY_CONFIG")))
            add_unknown(l, "", name);
    }
}

static bool is_database_url(const char *url)
{
    return strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0 ||
           strchr(url, '=');
}

static bool is_bad(const struct loading *l, const char *name)
{
    return name && l->bad[names_index(&l->names, sv_from(name))];
}

/* scheme://host or scheme://host:port, as browsers send it. */
static bool is_origin(struct sv text)
{
    const struct sv scheme = sv_cut(&text, ':');
    return scheme.n > 0 && sv_all_of(scheme, "+-.") && text.n > 2 &&
           sv_starts_with(text, SV("//")) &&
           sv_all_of((struct sv){text.p + 2, text.n - 2}, "-._:[]");
}

/* Checks each item of a list that spaces or commas separate. */
static void check_list(struct loading *l, const char *name, const char *text,
                       bool (*is_right)(struct sv), const char *what)
{
    for (size_t n; *text; text += n + strspn(text + n, " ,")) {
        n = strcspn(text, " ,");
        if (n > 0 && !is_right((struct sv){text, n}))
            add_fault(l, "%s: %.*s is no %s", name, (int)n, text, what);
    }
}

/* The path of a socket, or tcp://ADDRESS:PORT. */
static void check_socket(struct loading *l, const char *name, const char *text)
{
    struct sockaddr_storage address;
    const char *scheme = strstr(text, "://"), *rest = scheme ? scheme + 3 : text;
    const char *colon = strrchr(rest, ':'), *likely = rest;
    char as_tcp[128], local[128];
    if (*text == '/' || net_endpoint(text, &address) > 0 || is_bad(l, name))
        return;
    snprintf(as_tcp, sizeof as_tcp, "tcp://%s", rest);
    snprintf(local, sizeof local, "tcp://127.0.0.1:%s", colon ? colon + 1 : rest);
    if (*rest != '/')
        likely = net_endpoint(as_tcp, &address) > 0  ? as_tcp
                 : net_endpoint(local, &address) > 0 ? local
                                                     : NULL;
    l->bad[names_index(&l->names, sv_from(name))] = true;
    add_fault(l, "%s is \"%s\"; it may be an absolute path or tcp://ADDRESS:PORT%s%s%s", name, text,
              likely ? "; did you mean " : "", likely ? likely : "", likely ? "?" : "");
}

/* Rules that one row of the table cannot express. None is tried on a setting that is wrong. */
static void check_combinations(const struct config *c, struct loading *l)
{
    static const char network[] = "network such as 10.1.0.0/16, fd00::/8 or 10.1.2.3";
    const struct {
        bool wrong;
        const char *name, *other; /* the settings; other may be NULL */
        const char *why;
    } rules[] = {
        {!is_database_url(c->database_url), "DATABASE_URL", NULL,
         "must begin with postgresql:// or be of the form host=… dbname=…"},
        {c->database_admin_url[0] && !is_database_url(c->database_admin_url), "DATABASE_ADMIN_URL",
         NULL, "must begin with postgresql:// or be of the form host=… dbname=…, or be empty"},
        {strcmp(c->listen, c->admin) == 0, "PARLEY_LISTEN", "PARLEY_ADMIN", "must differ"},
        {strcmp(c->listen, c->health) == 0, "PARLEY_LISTEN", "PARLEY_HEALTH", "must differ"},
        {strcmp(c->admin, c->health) == 0, "PARLEY_ADMIN", "PARLEY_HEALTH", "must differ"},
        {c->pool_min > c->pool_max, "PARLEY_POOL_MIN", "PARLEY_POOL_MAX", NULL},
        {c->acquire_ms > c->request_ms, "PARLEY_ACQUIRE_MS", "PARLEY_REQUEST_MS", NULL},
        {c->body_memory < CONFIG_BODY_COPIES * c->max_body, "PARLEY_BODY_MEMORY", "PARLEY_MAX_BODY",
         "do not fit: PARLEY_BODY_MEMORY must be at least 4 times PARLEY_MAX_BODY"},
        {c->statement_ms > c->request_ms, "PARLEY_STATEMENT_MS", "PARLEY_REQUEST_MS", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const char *name = rules[i].name, *other = rules[i].other;
        if (!rules[i].wrong || is_bad(l, name) || is_bad(l, other))
            continue;
        if (!other)
            l->bad[names_index(&l->names, sv_from(name))] = true;
        if (!rules[i].why)
            add_fault(l, "%s must not be above %s", name, other);
        else
            add_fault(l, "%s%s%s %s", name, other ? " and " : "", other ? other : "", rules[i].why);
    }
    if (strcmp(c->cors_origins, "*") != 0)
        check_list(l, "PARLEY_CORS_ORIGINS", c->cors_origins, is_origin,
                   "origin such as https://app.example.com or http://localhost:3000 (without a "
                   "path or a / at its end), or * alone");
    check_list(l, "PARLEY_LISTEN_ALLOW", c->listen_allow, net_is_network, network);
    check_list(l, "PARLEY_OPERATIONS_ALLOW", c->operations_allow, net_is_network, network);
    check_socket(l, "PARLEY_LISTEN", c->listen);
    check_socket(l, "PARLEY_ADMIN", c->admin);
    if (*c->health)
        check_socket(l, "PARLEY_HEALTH", c->health);
}

/* A setting that is wrong has its default while others are checked, or is empty. */
static void apply_values(struct config *c, struct loading *l)
{
    for (size_t i = 0; i < l->names.n; i++) {
        char why[256];
        const struct setting *s = &l->settings[i];
        const char *value = l->value[i] ? l->value[i] : s->fallback;
        l->bad[i] = !value || !config_set(c, s, value, why, sizeof why);
        if (value && l->bad[i])
            add_fault(l, "%s", why);
        else if (!value && !l->unread[i])
            add_fault(l, "%s is not set: %s", s->name, s->help);
        if (l->bad[i])
            (void)!config_set(c, s, s->fallback ? s->fallback : "", why, sizeof why);
    }
    check_combinations(c, l);
    for (size_t i = 0; i < l->names.n; i++)
        if (l->bad[i])
            config_unset(c, &l->settings[i]);
}

enum err config_load(struct config *c, const char *file, char *why, size_t why_n)
{
    *c = (struct config){.file = file, .texts = arena_create(SIZE_MAX)};
    struct loading l = {.texts = c->texts, .names = config_names, .why = why, .why_n = why_n};
    l.settings = l.names.rows;
    why[0] = '\0';
    if (!c->texts)
        add_fault(&l, "out of memory");
    if (c->texts && file)
        read_file(&l, file);
    if (c->texts)
        read_environment(&l);
    apply_values(c, &l);
    return l.faulty ? ERR_INVALID : ERR_NONE;
}

void config_free(struct config *c)
{
    arena_destroy(c->texts);
    memset(c, 0, sizeof *c);
}
