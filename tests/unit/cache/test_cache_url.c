/* SPDX-License-Identifier: MIT */
#include "../suite.h"

#include <stdio.h>
#include <string.h>

#include "../../../src/cache/cache_internal.h"

static char why[256];

/* port -1: a socket. */
TEST(good)
{
    static const struct {
        const char *text, *path_or_host, *user, *password;
        int port, db;
    } rows[] = {
        {"redis://cache.example", "cache.example", "", "", 6379, 0},
        {"redis://bot:p%40ss%2Fw@rd:x@10.0.0.1:7000/12", "10.0.0.1", "bot", "p@ss/w@rd:x", 7000,
         12},
        {"redis://:secret@localhost/", "localhost", "", "secret", 6379, 0},
        {"redis://[::1]:6380", "::1", "", "", 6380, 0},
        {"redis://[::1]", "::1", "", "", 6379, 0},
        {"unix:///run/redis.sock", "/run/redis.sock", "", "", -1, 0},
        {"unix:///run/a%20b.sock?db=3&password=x%26y", "/run/a b.sock", "", "x&y", -1, 3},
        {"unix:///s?user=bot&password=p", "/s", "bot", "p", -1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cache_url u;
        CU_ASSERT(cache_url_parse(rows[i].text, &u, why, sizeof why));
        CU_ASSERT_STRING_EQUAL(why, "");
        CU_ASSERT_EQUAL(u.local, rows[i].port < 0);
        CU_ASSERT_STRING_EQUAL(u.local ? u.path : u.host, rows[i].path_or_host);
        CU_ASSERT_STRING_EQUAL(u.user, rows[i].user);
        CU_ASSERT_STRING_EQUAL(u.password, rows[i].password);
        CU_ASSERT(u.local || u.port == rows[i].port);
        CU_ASSERT_EQUAL(u.db, rows[i].db);
    }
}

static void expect_refused(const char *text)
{
    why[0] = '\0';
    if (cache_url_valid(text, why, sizeof why)) {
        printf("\n    accepted: %s", text);
        CU_FAIL("a malformed URL was accepted");
    }
    CU_ASSERT_NOT_EQUAL(strlen(why), 0);
    CU_ASSERT_PTR_NULL(strchr(why, '\n'));
}

TEST(refused)
{
    char text[160] = "unix:///";
    memset(text + 8, 'x', 120);
    expect_refused(text);
    struct sv rest =
        SV("redis:// redis://:6379 redis://host: redis://host:0 redis://host:x "
           "redis://host:65536 redis://host/x redis://host/-1 redis://pw@host "
           "redis://:%4@host redis://:%00@host redis://[::1 redis://[::1]x "
           "redis://host?db=1 rediss://host unix:// unix:/// unix://relative unix:///s?db=x "
           "unix:///s?db unix:///s?dbx=1 http://host host:6379 redis:/host "
           "unix:///s? redis://@host REDIS redis://host:6379/0/1");
    while (rest.p) {
        const struct sv part = sv_cut(&rest, ' ');
        snprintf(text, sizeof text, "%.*s", SV_ARG(part));
        expect_refused(text);
    }
}

/* Fails if the text of the URL is put into why: tried. */
TEST(password_is_not_shown)
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
}
