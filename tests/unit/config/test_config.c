/* SPDX-License-Identifier: MIT */
#include "../suite.h"
#include "parley/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct pair {
    const char *name, *value;
};

/* The environment is DATABASE_URL and one more pair. */
static void set_environment(const struct pair *p)
{
    clearenv();
    setenv("DATABASE_URL", "postgresql://parley@/parley?host=/tmp", 1);
    setenv("PATH", "/bin", 1);
    if (p && p->name)
        setenv(p->name, p->value, 1);
}

/* Nothing is left after a fault. */
static enum err load_file(struct config *c, const char *file, char *why, size_t why_n)
{
    const enum err e = config_load(c, file, why, why_n);
    if (e != ERR_NONE)
        config_free(c);
    return e;
}

static enum err load(struct config *c, const struct pair *p, char why[256])
{
    set_environment(p);
    return load_file(c, NULL, why, 256);
}

TEST(defaults)
{
    struct config c;
    char why[256];
    CU_ASSERT_EQUAL(load(&c, NULL, why), ERR_NONE);
    CU_ASSERT_STRING_EQUAL(why, "");
    CU_ASSERT_STRING_EQUAL(c.redis_url, "");
    CU_ASSERT_STRING_EQUAL(c.listen, "/run/parley/parley.sock");
    CU_ASSERT_STRING_EQUAL(c.admin, "/run/parley/admin.sock");
    CU_ASSERT_STRING_EQUAL(c.database_admin_url, "");
    CU_ASSERT_TRUE(c.prepare);
    CU_ASSERT_FALSE(c.hosts_one);
    CU_ASSERT_TRUE(c.auth_keys);
    CU_ASSERT_FALSE(c.log_debug);
    const struct {
        int64_t is, want;
    } n[] = {
        {c.workers, 0},           {c.threads, 96},         {c.pool_min, 2},
        {c.pool_max, 20},         {c.session_ttl, 604800}, {c.max_body, 12582912},
        {c.memory, 67108864},     {c.acquire_ms, 1000},    {c.statement_ms, 5000},
        {c.request_ms, 10000},    {c.connect_ms, 2000},    {c.redis_ms, 250},
        {c.pool_idle, 600},       {c.pool_lifetime, 1800}, {c.drain_s, 25},
        {c.page_bytes, 16777216}, {c.sweep_s, 60},         {c.queue_ms, 1000},
        {c.slow_ms, 1000},        {c.recycle, 1000000},    {c.keys_stale, 300},
        {c.tenant_requests, 0},   {c.tenant_sessions, 0},  {c.body_memory, 67108864},
        {c.session_messages, 0},  {c.metrics_tenants, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(n); i++)
        CU_ASSERT_EQUAL(n[i].is, n[i].want);
    config_free(&c);
    CU_ASSERT_PTR_NULL(c.database_url);
}

/* A setting, and values separated by '|'. */
struct values {
    const char *name, *values;
};

static void expect_values(const struct values *v, size_t n, bool good)
{
    for (size_t i = 0; i < n; i++) {
        struct sv rest = sv_from(v[i].values);
        while (rest.p) {
            char value[64], why[256];
            struct config c;
            const struct sv part = sv_cut(&rest, '|');
            snprintf(value, sizeof value, "%.*s", SV_ARG(part));
            const enum err e = load(&c, &(struct pair){v[i].name, value}, why);
            CU_ASSERT_EQUAL(e, good ? ERR_NONE : ERR_INVALID);
            if (e != (good ? ERR_NONE : ERR_INVALID))
                printf("\n    %s=%s: %s", v[i].name, value, why);
            if (e == ERR_NONE)
                config_free(&c);
            CU_ASSERT_EQUAL(strstr(why, v[i].name) != NULL, !good);
            CU_ASSERT_PTR_NULL(strchr(why, '\n'));
            CU_ASSERT_PTR_NULL(strstr(why, "secret"));
            CU_ASSERT_PTR_NULL(c.database_url);
        }
    }
}

TEST(good_values)
{
    static const struct values good[] = {
        {"PARLEY_THREADS", "1|256"},
        {"PARLEY_POOL_MIN", "0"},
        {"PARLEY_POOL_MAX", "200"},
        {"PARLEY_SESSION_TTL", "1|3153600000"},
        {"PARLEY_MAX_BODY", "1KiB|16MiB|16777216"},
        {"PARLEY_BODY_MEMORY", "48MiB|64GiB"},
        {"PARLEY_PAGE_BYTES", "64KiB"},
        {"PARLEY_MEMORY", "1GiB|0"},
        {"PARLEY_HOSTS", "one|many"},
        {"PARLEY_AUTH", "off|keys"},
        {"PARLEY_KEYS_STALE", "0"},
        {"PARLEY_PREPARE", "off"},
        {"PARLEY_SWEEP", "0"},
        {"PARLEY_DRAIN", "0"},
        {"PARLEY_ACQUIRE_MS", "10000"},
        {"REDIS_URL", "redis://localhost:6379/1|unix:///run/redis.sock?db=1|"},
        {"DATABASE_URL", "host=/tmp dbname=x|postgres://h/d"},
        {"DATABASE_ADMIN_URL", "|host=/tmp user=owner"},
        {"PARLEY_CONFIG", "/etc/parley.conf"},
        {"PARLOR", "not ours"},
        {"PARLEY", "not ours"},
    };
    expect_values(good, ARRAY_LEN(good), true);
}

/* Each is refused with a line that names the variable. Fails if a bound of the table is off by one,
 * or a combination is not checked: tried for PARLEY_THREADS and for PARLEY_POOL_MIN. */
TEST(bad_values)
{
    static const struct values bad[] = {
        {"PARLEY_THREADS", "0|257|| 5|5 |five|-1|1KiB|99999999999999999999"},
        {"PARLEY_WORKERS", "257"},
        {"PARLEY_POOL_MAX", "0|201|1"},
        {"PARLEY_POOL_MIN", "21"},
        {"PARLEY_SESSION_TTL", "0|3153600001"},
        {"PARLEY_MAX_BODY", "1023|17MiB|1 KiB|1KB|KiB|9223372036854775807KiB"},
        {"PARLEY_BODY_MEMORY", "50331647|1048575"},
        {"PARLEY_PAGE_BYTES", "65535"},
        {"PARLEY_MEMORY", "65GiB"},
        {"PARLEY_CACHE_SECONDS", "0"},
        {"PARLEY_HOSTS", "two||One"},
        {"PARLEY_KEYS_STALE", "86401"},
        {"PARLEY_TENANT_REQUESTS", "1000001"},
        {"PARLEY_TENANT_SESSIONS", "-1"},
        {"PARLEY_SESSION_MESSAGES", "-1|1000000001|x"},
        {"PARLEY_AUTH", "on"},
        {"PARLEY_PREPARE", "yes"},
        {"PARLEY_LISTEN", "|/run/parley/admin.sock|/a\nb|parley.sock|127.0.0.1:8184|tcp://x:1"},
        {"PARLEY_ADMIN", "|/run/parley/parley.sock|8184|tcp://127.0.0.1:0"},
        {"PARLEY_HEALTH", "8186|unix:/run/x|tcp://127.0.0.1:65536"},
        {"PARLEY_LISTEN_ALLOW", "10.0.0.1/8|a|127.0.0.1;::1"},
        {"PARLEY_OPERATIONS_ALLOW", "10.0.0.0/8, 10/8"},
        {"PARLEY_ACQUIRE_MS", "10001"},
        {"PARLEY_STATEMENT_MS", "10001"},
        {"PARLEY_REQUEST_MS", "4999"},
        {"PARLEY_REDIS_MS", "0"},
        {"DATABASE_URL", "|mysql://h/d"},
        {"DATABASE_ADMIN_URL", "mysql://u:secret@h/d"},
        {"PARLEY_DB_ROLE", "parley_app"},
    };
    expect_values(bad, ARRAY_LEN(bad), false);
}

TEST(texts_of_faults)
{
    static const struct {
        struct pair p;
        const char *why;
    } fault[] = {
        {{"PARLEY_THREADS", "300"}, "PARLEY_THREADS is \"300\"; it may be 1 to 256"},
        {{"PARLEY_MAX_BODY", "1"},
         "PARLEY_MAX_BODY is \"1\"; it may be 1KiB to 16MiB, in bytes or with KiB, MiB or GiB"},
        {{"PARLEY_BODY_MEMORY", "47MiB"},
         "PARLEY_BODY_MEMORY and PARLEY_MAX_BODY do not fit: PARLEY_BODY_MEMORY must be at least 4 "
         "times PARLEY_MAX_BODY"},
        {{"PARLEY_LISTEN", "localhost:8184"},
         "PARLEY_LISTEN is \"localhost:8184\"; it may be an absolute path or tcp://ADDRESS:PORT; "
         "did "
         "you mean tcp://127.0.0.1:8184?"},
        {{"PARLEY_ADMIN", "unix:///run/x"},
         "PARLEY_ADMIN is \"unix:///run/x\"; it may be an absolute path or tcp://ADDRESS:PORT; did "
         "you mean /run/x?"},
        {{"PARLEY_HEALTH", "./x.sock"},
         "PARLEY_HEALTH is \"./x.sock\"; it may be an absolute path or tcp://ADDRESS:PORT"},
        {{"PARLEY_OPERATIONS_ALLOW", "10.0.0.0/8 fd00::1/8"},
         "PARLEY_OPERATIONS_ALLOW: fd00::1/8 is no network such as 10.1.0.0/16, fd00::/8 or "
         "10.1.2.3"},
        {{"PARLEY_HOSTS", "x"}, "PARLEY_HOSTS is \"x\"; it may be many or one"},
        {{"PARLEY_CORS_ORIGINS", "https://a.example, http://b.example:3000/ http://c"},
         "PARLEY_CORS_ORIGINS: http://b.example:3000/ is no origin such as https://app.example.com "
         "or "
         "http://localhost:3000 (without a path or a / at its end), or * alone"},
        {{"PARLEY_THREAD", "5"},
         "PARLEY_THREAD: there is no such setting; did you mean PARLEY_THREADS?"},
        {{"PARLEY_SOMETHING_ELSE", "5"}, "PARLEY_SOMETHING_ELSE: there is no such setting"},
        {{"PARLEY_DB_ROLE", ""},
         "PARLEY_DB_ROLE was removed: let DATABASE_URL log in as the serving role, and "
         "DATABASE_ADMIN_URL as the owner"},
        {{"PARLEY_RETRY_GUARD", "on"},
         "PARLEY_RETRY_GUARD was removed: a client that repeats a request sends an Idempotency-Key "
         "with it"},
    };
    struct config c;
    char why[256];
    for (size_t i = 0; i < ARRAY_LEN(fault); i++) {
        CU_ASSERT_EQUAL(load(&c, &fault[i].p, why), ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(why, fault[i].why);
    }
    static const char *const origins[] = {"* http://a",
                                          "a.example",
                                          "://a",
                                          "https:/a",
                                          "https://",
                                          "null",
                                          "https://a.example/app",
                                          "https://*.a",
                                          "http://b\xc3\xbc"};
    for (size_t i = 0; i < ARRAY_LEN(origins); i++)
        CU_ASSERT_EQUAL(load(&c, &(struct pair){"PARLEY_CORS_ORIGINS", origins[i]}, why),
                        ERR_INVALID);
    static const char *const good[] = {"", "*", "https://a.example",
                                       " http://[::1]:80,app+x://y  ,", "HTTPS://A.example"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CU_ASSERT_EQUAL(load(&c, &(struct pair){"PARLEY_CORS_ORIGINS", good[i]}, why), ERR_NONE);
        config_free(&c);
    }
    clearenv();
    CU_ASSERT_EQUAL(load_file(&c, NULL, why, sizeof why), ERR_INVALID);
    CU_ASSERT_EQUAL(strncmp(why, "DATABASE_URL is not set", 23), 0);
    char path[109];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    CU_ASSERT_EQUAL(load(&c, &(struct pair){"PARLEY_LISTEN", path}, why), ERR_INVALID);
    path[107] = '\0';
    CU_ASSERT_EQUAL(load(&c, &(struct pair){"PARLEY_LISTEN", path}, why), ERR_NONE);
    config_free(&c);
}

/* A new file with this text, which the caller unlinks. */
static void write_file(char path[32], const char *text)
{
    snprintf(path, 32, "/tmp/parley-config-XXXXXX");
    const int fd = mkstemp(path);
    CU_ASSERT_TRUE(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static enum err load_text(struct config *c, const char *text, const struct pair *p, char why[256])
{
    char path[32];
    write_file(path, text);
    set_environment(p);
    enum err e = load_file(c, path, why, 256);
    unlink(path);
    return e;
}

TEST(file_of_settings)
{
    struct config c;
    char why[256];
    CU_ASSERT_EQUAL(load_text(&c,
                              "# parley\n\n  PARLEY_THREADS = 7  \r\nPARLEY_POOL_MAX=9\n"
                              "REDIS_URL=redis://h/0?a=b\nDATABASE_ADMIN_URL=",
                              &(struct pair){"PARLEY_POOL_MAX", "11"}, why),
                    ERR_NONE);
    CU_ASSERT_EQUAL(c.threads, 7);
    CU_ASSERT_EQUAL(c.pool_max, 11); /* the environment wins */
    CU_ASSERT_STRING_EQUAL(c.redis_url, "redis://h/0?a=b");
    CU_ASSERT_STRING_EQUAL(c.database_admin_url, "");
    config_free(&c);
    static const char *const bad[] = {"PARLEY_THREADS\n", "PARLEY_THREADZ=1\n", "PATH=/bin\n",
                                      "PARLEY_THREADS=1\nPARLEY_THREADS=1\n", "=1\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CU_ASSERT_EQUAL(load_text(&c, bad[i], NULL, why), ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, i == 3 ? " line 2: " : " line 1: "));
    }
    CU_ASSERT_EQUAL(load_file(&c, "/nonexistent/file", why, sizeof why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "/nonexistent/file"));
    /* Hangs if a FIFO without a writer is opened and waited for. */
    char path[64];
    snprintf(path, sizeof path, "/tmp/parley-fifo-%d", (int)getpid());
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(load_file(&c, path, why, sizeof why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "not a regular file"));
    unlink(path);
}

/* NAME_FILE, for settings that may hold a password. Fails if the line feed is a part of the value:
 * tried. */
TEST(value_in_a_file)
{
    struct config c;
    char why[256], path[32], empty[32], text[128];
    write_file(path, "redis://:secret@h/0\nmore");
    write_file(empty, "");
    CU_ASSERT_EQUAL(load(&c, &(struct pair){"REDIS_URL_FILE", path}, why), ERR_NONE);
    CU_ASSERT_STRING_EQUAL(c.redis_url, "redis://:secret@h/0");
    config_free(&c);
    snprintf(text, sizeof text, "REDIS_URL_FILE=%s\n", path);
    CU_ASSERT_EQUAL(load_text(&c, text, NULL, why), ERR_NONE);
    CU_ASSERT_STRING_EQUAL(c.redis_url, "redis://:secret@h/0");
    config_free(&c);
    const struct {
        struct pair p;
        const char *says;
    } bad[] = {{{"REDIS_URL_FILE", empty}, " is empty: it must hold REDIS_URL"},
               {{"REDIS_URL_FILE", "/nonexistent"}, "/nonexistent: cannot be read: "},
               {{"DATABASE_URL_FILE", path}, "DATABASE_URL and DATABASE_URL_FILE are both set"},
               {{"PARLEY_LISTEN_FILE", path}, "PARLEY_LISTEN_FILE: there is no such setting"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CU_ASSERT_EQUAL(load(&c, &bad[i].p, why), ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, bad[i].says));
        CU_ASSERT_PTR_NULL(strchr(why, '\n'));
    }
    unlink(path);
    unlink(empty);
}

/* Fails if the first fault ends the reading: tried. Faults that do not fit are left out. */
TEST(every_fault_has_a_line)
{
    static const char text[] = "PARLEY_THREADZ=1\nPARLEY_DB_ROLE=parley_app\nnonsense\n"
                               "PARLEY_AUTH=on\nDATABASE_ADMIN_URL=mysql://u:secret@h/d\n";
    static const char *const faults[] = {" line 1: PARLEY_THREADZ: there is no such setting",
                                         " line 2: PARLEY_DB_ROLE was removed: let DATABASE_URL ",
                                         " line 3: is not NAME=value",
                                         "PARLEY_DB_ROLE was removed: ",
                                         "PARLEY_AUTH is \"on\"; it may be off or keys",
                                         "DATABASE_ADMIN_URL must begin with postgresql:// "};
    struct config c;
    char why[2048], path[32];
    write_file(path, text);
    set_environment(&(struct pair){"PARLEY_DB_ROLE", "parley_app"});
    CU_ASSERT_EQUAL(load_file(&c, path, why, sizeof why), ERR_INVALID);
    char *rest = why, *line;
    size_t n = 0;
    while ((line = strsep(&rest, "\n"))) {
        CU_ASSERT_TRUE(n < ARRAY_LEN(faults) && strstr(line, faults[n]));
        n++;
    }
    CU_ASSERT_EQUAL(n, ARRAY_LEN(faults));
    for (size_t room = 1; room < 300; room++) {
        memset(why, 'x', sizeof why);
        CU_ASSERT_EQUAL(load_file(&c, path, why, room), ERR_INVALID);
        CU_ASSERT_TRUE(strlen(why) < room && why[room] == 'x');
    }
    /* The settings that are right can still be used. */
    CU_ASSERT_EQUAL(config_load(&c, path, why, sizeof why), ERR_INVALID);
    CU_ASSERT_TRUE(c.database_url && !c.database_admin_url && c.auth_keys && c.threads == 96);
    config_free(&c);
    unlink(path);
}
