/* SPDX-License-Identifier: MIT */
#include "../suite.h"
#include "parley/config/config.h"

#include <stdlib.h>
#include <string.h>

static void print_setting(void *out, const char *name, const char *text, int64_t number)
{
    if (text)
        fprintf(out, "%s=%s\n", name, text);
    else
        fprintf(out, "%s=%lld\n", name, (long long)number);
}

static char *printed(void (*print)(FILE *), const struct config *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (c)
        config_each(c, true, print_setting, f);
    else
        print(f);
    fclose(f);
    return text;
}

TEST(every_setting_is_documented)
{
    static const char *const names[] = {"DATABASE_URL",  "DATABASE_ADMIN_URL", "REDIS_URL",
                                        "PARLEY_LISTEN", "PARLEY_MAX_BODY",    "PARLEY_SWEEP"};
    char *help = printed(config_help, NULL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        CU_ASSERT_PTR_NOT_NULL(strstr(help, names[i]));
    CU_ASSERT_PTR_NOT_NULL(strstr(help, "  PARLEY_THREADS          handler threads per worker\n"
                                        "                          [96; 1 to 256]\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(help, "[required]\n"));
    free(help);
}

/* Fails if the first '@' ends a password, or keywords are ignored: tried. */
TEST(passwords_are_masked)
{
    static const struct {
        const char *name, *url, *masked;
    } t[] = {
        {"DATABASE_ADMIN_URL", "postgresql://u:secret@h:5432/d", "postgresql://u:***@h:5432/d"},
        {"DATABASE_ADMIN_URL", "postgresql://u:se@cr:et@h/d", "postgresql://u:***@h/d"},
        {"DATABASE_ADMIN_URL", "postgresql://u:x@h/d", "postgresql://u:***@h/d"},
        {"DATABASE_ADMIN_URL", "postgresql://u:@h/d", "postgresql://u:***@h/d"},
        {"DATABASE_ADMIN_URL", "postgresql://u@h:5432/d", "postgresql://u@h:5432/d"},
        {"DATABASE_ADMIN_URL", "postgresql://h:5432/d?user=u&password=secret&sslpassword=s2&x=1",
         "postgresql://h:5432/d?user=u&password=***&sslpassword=***&x=1"},
        {"DATABASE_ADMIN_URL", "host=h password=secret dbname=d", "host=h password=*** dbname=d"},
        {"DATABASE_ADMIN_URL", "host=h password = 'se c\\'ret' dbname=d",
         "host=h password = *** dbname=d"},
        {"DATABASE_ADMIN_URL", "password='unended", "password=***"},
        {"DATABASE_ADMIN_URL", "password=se&cret\\ x dbname=d", "password=*** dbname=d"},
        {"DATABASE_ADMIN_URL", "postgresql:///d?password=se cret&x=1",
         "postgresql:///d?password=***&x=1"},
        {"DATABASE_ADMIN_URL", "password=", "password=***"},
        {"REDIS_URL", "redis://:secret@h:6379/0", "redis://:***@h:6379/0"},
        {"REDIS_URL", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct config c;
        char why[256], line[256];
        clearenv();
        setenv("DATABASE_URL", "postgresql://h/d", 1);
        setenv(t[i].name, t[i].url, 1);
        CU_ASSERT_EQUAL(config_load(&c, NULL, why, sizeof why), ERR_NONE);
        char *text = printed(NULL, &c);
        snprintf(line, sizeof line, "\n%s=%s\n", t[i].name, t[i].masked);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, line));
        free(text);
        config_free(&c);
    }
}

/* The output can be read as a file, except for the passwords. */
TEST(values_in_force)
{
    struct config c;
    char why[256];
    clearenv();
    setenv("DATABASE_URL", "postgresql://u:secret@h/d", 1);
    setenv("DATABASE_ADMIN_URL", "host=h user=o password=secret", 1);
    setenv("PARLEY_HOSTS", "one", 1);
    setenv("PARLEY_MEMORY", "2MiB", 1);
    CU_ASSERT_EQUAL(config_load(&c, NULL, why, sizeof why), ERR_NONE);
    char *text = printed(NULL, &c);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "DATABASE_URL=postgresql://u:***@h/d\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "DATABASE_ADMIN_URL=host=h user=o password=***\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nPARLEY_HOSTS=one\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nPARLEY_MEMORY=2097152\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nPARLEY_PREPARE=on\n"));
    CU_ASSERT_PTR_NULL(strstr(text, "secret"));
    free(text);
    config_free(&c);
}
