/* SPDX-License-Identifier: MIT */
/* The servers that a URL names. tests/hosts/test_servers.py has those that hang or follow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../src/db/db_internal.h"
#include "../suite.h"

/* Servers with their port, separated by spaces. */
static void list_names(const struct db_url *u, char *out, size_t n)
{
    out[0] = '\0';
    for (int i = 0; i < u->n; i++)
        snprintf(out + strlen(out), n - strlen(out), "%s%s", i > 0 ? " " : "", u->name[i]);
}

TEST(servers_of_a_url)
{
    static const struct {
        const char *url, *names, *options; /* names NULL: refused */
    } rows[] = {
        {"", "default host", NULL},
        {"host=a", "a", NULL},
        {"postgresql://u:p@a,b:1,c/d", "a b:1 c", NULL},
        {"host=a,b,c port=1", "a:1 b:1 c:1", NULL},
        {"host=a,b port=1,2", "a:1 b:2", NULL},
        {"host=/a,/b", "/a /b", NULL},
        {"host=,b", "default host b", NULL},
        {"hostaddr=127.0.0.1,127.0.0.2", "127.0.0.1 127.0.0.2", NULL},
        {"host=a,b hostaddr=127.0.0.1,127.0.0.2", "a b", NULL},
        {"host=a,b,c,d,e,f,g,h", "a b c d e f g h", NULL},
        {"host=a,b,c,d,e,f,g,h,i", NULL, NULL},
        {"host=a,b port=1,2,3", NULL, NULL},
        {"host=a,b hostaddr=127.0.0.1", NULL, NULL},
        {"port=1,2", NULL, NULL},
        {"nothing", NULL, NULL},
        {"service=there-is-none", NULL, NULL},
        {"options='-c jit=off'", "default host", "-c jit=off"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct db_url u = {0};
        char names[200];
        CU_ASSERT_TRUE(db_url_parse(&u, rows[i].url));
        CU_ASSERT_EQUAL(u.fault != NULL, rows[i].names == NULL);
        if (!u.fault) {
            list_names(&u, names, sizeof(names));
            CU_ASSERT_STRING_EQUAL(names, rows[i].names);
        }
        CU_ASSERT_EQUAL(u.options != NULL, rows[i].options != NULL);
        if (u.options && rows[i].options)
            CU_ASSERT_STRING_EQUAL(u.options, rows[i].options);
        PQconninfoFree(u.parsed);
    }
}

/* A service file and the environment name servers, too, and what a server must be. libpq would take
 * the first of several that answers, a standby as well. */
TEST(servers_named_elsewhere)
{
    static const char content[] = "[parley]\nhost=a,b\nport=1,2\nuser=u\n"
                                  "target_session_attrs=standby\n";
    static const struct {
        const char *url, *names;
    } rows[] = {
        {"service=parley", "a:1 b:2"},
        {"host=c,d service=parley", "c:1 d:2"},
        {"", "e f:7"},
        {"host=g", "g"},
    };
    char path[] = "/tmp/parley-service-XXXXXX";
    const int fd = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, content, sizeof(content) - 1), (ssize_t)sizeof(content) - 1);
    close(fd);
    setenv("PGSERVICEFILE", path, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct db_url u = {0};
        char names[200];
        if (i == 2) {
            setenv("PGHOST", "e,f", 1);
            setenv("PGPORT", "5432,7", 1);
        } else {
            unsetenv("PGHOST");
            unsetenv("PGPORT");
        }
        CU_ASSERT_TRUE(db_url_parse(&u, rows[i].url));
        CU_ASSERT_PTR_NULL(u.fault);
        list_names(&u, names, sizeof(names));
        CU_ASSERT_STRING_EQUAL(names, rows[i].names);
        PQconninfoFree(u.parsed);
    }
    unsetenv("PGSERVICEFILE");
    unlink(path);
}

/* Each server is given to libpq alone, and what the URL has besides. */
TEST(one_server_at_a_time)
{
    struct db_url u = {0};
    CU_ASSERT_TRUE(db_url_parse(&u, "postgresql://u@%2Ftmp%2Fnone-a,%2Ftmp%2Fnone-b:7/d"
                                    "?target_session_attrs=standby&application_name=x"));
    CU_ASSERT_EQUAL(u.n, 2);
    PGconn *pg = db_url_connect(&u, 1, "parley");
    CU_ASSERT_STRING_EQUAL(PQhost(pg), "/tmp/none-b");
    CU_ASSERT_STRING_EQUAL(PQport(pg), "7");
    CU_ASSERT_STRING_EQUAL(PQuser(pg), "u");
    CU_ASSERT_STRING_EQUAL(PQdb(pg), "d");
    PQconninfoOption *all = PQconninfo(pg);
    for (const PQconninfoOption *o = all; o && o->keyword; o++) {
        if (strcmp(o->keyword, "application_name") == 0)
            CU_ASSERT_STRING_EQUAL(o->val, "parley");
        if (strcmp(o->keyword, "target_session_attrs") == 0)
            CU_ASSERT_STRING_EQUAL(o->val, "any");
    }
    PQconninfoFree(all);
    PQfinish(pg);
    PQconninfoFree(u.parsed);
}
