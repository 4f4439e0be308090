/* SPDX-License-Identifier: MIT */
#include "../suite.h"

#include <string.h>

#include "../../../src/cache/cache_internal.h"

static char why[256];

static struct cache_url good(const char *text)
{
    struct cache_url u;
    bool fine = cache_url_parse(text, &u, why, sizeof why);
    CU_ASSERT(fine);
    CU_ASSERT_STRING_EQUAL(why, "");
    return u;
}

TEST(tcp)
{
    struct cache_url u = good("redis://cache.example");
    CU_ASSERT_FALSE(u.local);
    CU_ASSERT_STRING_EQUAL(u.host, "cache.example");
    CU_ASSERT_EQUAL(u.port, 6379);
    CU_ASSERT_EQUAL(u.db, 0);
    CU_ASSERT_STRING_EQUAL(u.password, "");
    u = good("redis://bot:p%40ss%2Fw@rd:x@10.0.0.1:7000/12");
    CU_ASSERT_STRING_EQUAL(u.user, "bot");
    CU_ASSERT_STRING_EQUAL(u.password, "p@ss/w@rd:x");
    CU_ASSERT_STRING_EQUAL(u.host, "10.0.0.1");
    CU_ASSERT_EQUAL(u.port, 7000);
    CU_ASSERT_EQUAL(u.db, 12);
    u = good("redis://:secret@localhost/");
    CU_ASSERT_STRING_EQUAL(u.user, "");
    CU_ASSERT_STRING_EQUAL(u.password, "secret");
    u = good("redis://[::1]:6380");
    CU_ASSERT_STRING_EQUAL(u.host, "::1");
    CU_ASSERT_EQUAL(u.port, 6380);
    u = good("redis://[::1]");
    CU_ASSERT_EQUAL(u.port, 6379);
}

TEST(local)
{
    struct cache_url u = good("unix:///run/redis.sock");
    CU_ASSERT(u.local);
    CU_ASSERT_STRING_EQUAL(u.path, "/run/redis.sock");
    CU_ASSERT_EQUAL(u.db, 0);
    u = good("unix:///run/a%20b.sock?db=3&password=x%26y");
    CU_ASSERT_STRING_EQUAL(u.path, "/run/a b.sock");
    CU_ASSERT_EQUAL(u.db, 3);
    CU_ASSERT_STRING_EQUAL(u.password, "x&y");
    u = good("unix:///s?user=bot&password=p");
    CU_ASSERT_STRING_EQUAL(u.user, "bot");
}

TEST(refused)
{
    char path[160] = "unix:///";
    const char *const texts[] = {
        "redis://",
        "redis://:6379",
        "redis://host:",
        "redis://host:0",
        "redis://host:x",
        "redis://host:65536",
        "redis://host/x",
        "redis://host/-1",
        "redis://pw@host",
        "redis://:%4@host",
        "redis://:%00@host",
        "redis://[::1",
        "redis://[::1]x",
        "redis://host?db=1",
        "unix://",
        "unix:///",
        "unix://relative",
        "unix:///s?db=x",
        "unix:///s?db",
        "unix:///s?dbx=1",
        "http://host",
        "host:6379",
        "redis:/host",
        "unix:///s?",
        "redis://@host",
        "REDIS",
        "redis://host:6379/0/1",
        path,
    };
    memset(path + 8, 'x', 120);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        why[0] = '\0';
        if (cache_url_valid(texts[i], why, sizeof why))
            CU_FAIL("accepted what is malformed");
        CU_ASSERT_NOT_EQUAL(strlen(why), 0);
        CU_ASSERT_PTR_NULL(strchr(why, '\n'));
    }
}

TEST(tls_is_refused_plainly)
{
    CU_ASSERT_FALSE(cache_url_valid("rediss://:secret@host", why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "TLS"));
    CU_ASSERT_PTR_NULL(strchr(why, '\n'));
}

/* Fails if the text of the URL is put into why: tried. */
TEST(password_is_not_told)
{
    const char *const texts[] = {"redis://:hunter2@host:x", "redis://:hunter2%@host",
                                 "unix:///s?password=hunter2&x=1", "rediss://:hunter2@host"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CU_ASSERT_FALSE(cache_url_valid(texts[i], why, sizeof why));
        CU_ASSERT_PTR_NULL(strstr(why, "hunter2"));
    }
}

TEST(none_is_valid)
{
    CU_ASSERT(cache_url_valid("", why, sizeof why));
    CU_ASSERT(cache_url_valid(NULL, why, sizeof why));
    CU_ASSERT_STRING_EQUAL(why, "");
}
