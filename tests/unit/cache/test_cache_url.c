/* SPDX-License-Identifier: MIT */
#include "../suite.h"

#include <stdio.h>
#include <string.h>

#include "../../../src/cache/cache_internal.h"

static char why[320];

/* port 0: a socket. */
TEST(good)
{
    static const struct {
        const char *text, *host, *user, *password;
        int port, db;
    } rows[] = {
        {"redis://cache.example", "cache.example", "", "", 6379, 0},
        {"redis://bot:p%40ss%2Fw@rd:x@10.0.0.1:7000/12", "10.0.0.1", "bot", "p@ss/w@rd:x", 7000,
         12},
        {"redis://:secret@localhost/", "localhost", "", "secret", 6379, 0},
        {"redis://[::1]:6380", "::1", "", "", 6380, 0},
        {"redis://[::1]", "::1", "", "", 6379, 0},
        {"redis://:a,b@h", "h", "", "a,b", 6379, 0},
        {"unix:///run/redis.sock", "/run/redis.sock", "", "", 0, 0},
        {"unix:///run/a%20b.sock?db=3&password=x%26y", "/run/a b.sock", "", "x&y", 0, 3},
        {"unix:///s?user=bot&password=p", "/s", "bot", "p", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cache_url u;
        CU_ASSERT(cache_url_parse(rows[i].text, &u, why, sizeof why));
        CU_ASSERT_STRING_EQUAL(why, "");
        CU_ASSERT_EQUAL(u.n_at, 1);
        CU_ASSERT_STRING_EQUAL(u.at[0].host, rows[i].host);
        CU_ASSERT_EQUAL(u.at[0].port, rows[i].port);
        CU_ASSERT_STRING_EQUAL(u.master, "");
        CU_ASSERT_STRING_EQUAL(u.user, rows[i].user);
        CU_ASSERT_STRING_EQUAL(u.password, rows[i].password);
        CU_ASSERT_EQUAL(u.db, rows[i].db);
    }
}

TEST(sentinels)
{
    static const struct {
        const char *text, *at, *master, *login, *sentinel_password;
        int db;
    } rows[] = {
        {"redis+sentinel://a/m", "a 26379", "m", " ", "", 0},
        {"redis+sentinel://a:1,b,[::1]:3/m%79", "a 1 b 26379 ::1 3", "my", " ", "", 0},
        {"redis+sentinel://u:p@q@a:1,b:2/m/7", "a 1 b 2", "m", "u p@q", "", 7},
        {"redis+sentinel://:p,q@a/m/?sentinel_password=s%26t", "a 26379", "m", " p,q", "s&t", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cache_url u;
        char at[64] = "", login[400];
        CU_ASSERT(cache_url_parse(rows[i].text, &u, why, sizeof why));
        for (size_t k = 0, n = 0; k < u.n_at; k++)
            n += (size_t)snprintf(at + n, sizeof at - n, "%s%s %d", k > 0 ? " " : "", u.at[k].host,
                                  u.at[k].port);
        snprintf(login, sizeof login, "%s %s", u.user, u.password);
        CU_ASSERT_STRING_EQUAL(at, rows[i].at);
        CU_ASSERT_STRING_EQUAL(u.master, rows[i].master);
        CU_ASSERT_STRING_EQUAL(login, rows[i].login);
        CU_ASSERT_STRING_EQUAL(u.sentinel_password, rows[i].sentinel_password);
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
           "unix:///s? redis://@host REDIS redis://host:6379/0/1 unix:///s?sentinel_user=x "
           "redis+sentinel:// redis+sentinel:///m redis+sentinel://a redis+sentinel://a/ "
           "redis+sentinel://a,/m redis+sentinel://a:0/m redis+sentinel://a/m/x "
           "redis+sentinel://a/m?db=1 redis+sentinel://a/m?sentinel_password=%0 "
           "redis+sentinel://a/m? redis+sentinel://a/m/1/2 "
           "redis+sentinel://pw@a/m redis+sentinel://a/%00 redis+sentinel://1,2,3,4,5,6,7,8,9/m");
    while (rest.p) {
        const struct sv part = sv_cut(&rest, ' ');
        snprintf(text, sizeof text, "%.*s", SV_ARG(part));
        expect_refused(text);
    }
}

TEST(refused_with_advice)
{
    static const struct {
        const char *text, *advice;
    } rows[] = {
        {"redis://a:1,b:2/0", "are given as redis+sentinel://"},
        {"rediss://a", "a stunnel on this host"},
        {"reds://a", "did you mean redis://?"},
        {"redis-sentinel://a/m", "did you mean redis+sentinel://?"},
        {"redis+sentinels://a/m", "did you mean redis+sentinel://?"},
        {"unx:///s", "did you mean unix://?"},
        {"http://a", "it has no scheme that is known"},
        {"a:6379", "it has no scheme that is known"},
        {"redis+sentinel://:pw@a,:pw@b/m", "is given once"},
        {"redis+sentinel://a:1", "the name of the master is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect_refused(rows[i].text);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, rows[i].advice));
        CU_ASSERT_PTR_NOT_NULL(strstr(why, "/master-name[/db]"));
    }
}

TEST(remote)
{
    static const struct {
        struct cache_endpoint at;
        bool remote;
    } rows[] = {{{"10.0.0.1", 6379}, true}, {{"redis", 6379}, true},
                {{"fe80::1", 1}, true},     {{"127.0.0.1", 1}, false},
                {{"127.8.8.8", 1}, false},  {{"localhost", 1}, false},
                {{"::1", 1}, false},        {{"/run/redis.sock", 0}, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CU_ASSERT_EQUAL(cache_endpoint_is_remote(&rows[i].at), rows[i].remote);
}

/* Fails if the text of the URL is put into why: tried. */
TEST(password_is_not_shown)
{
    const char *const texts[] = {
        "redis://:hunter2@host:x",        "redis://:hunter2%@host",
        "unix:///s?password=hunter2&x=1", "rediss://:hunter2@host",
        "reds://:hunter2@host",           "redis://:hunter2@a,b",
        "redis+sentinel://:hunter2@a",    "redis+sentinel://:a@a/m?hunter2"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CU_ASSERT_FALSE(cache_url_valid(texts[i], why, sizeof why));
        CU_ASSERT_PTR_NULL(strstr(why, "hunter2"));
    }
}

TEST(none_is_valid)
{
    CU_ASSERT(cache_url_valid("", why, sizeof why));
}
