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
        const char *url, *names, *commit, *options; /* names NULL: refused */
    } rows[] = {
        {"", "default host", "on", NULL},
        {"service=x", "default host", "on", NULL},
        {"host=a", "a", "on", NULL},
        {"postgresql://u:p@a,b:1,c/d", "a b:1 c", "on", NULL},
        {"host=a,b,c port=1", "a:1 b:1 c:1", "on", NULL},
        {"host=a,b port=1,2", "a:1 b:2", "on", NULL},
        {"host=/a,/b", "/a /b", "on", NULL},
        {"host=,b", "default host b", "on", NULL},
        {"hostaddr=127.0.0.1,127.0.0.2", "127.0.0.1 127.0.0.2", "on", NULL},
        {"host=a,b hostaddr=127.0.0.1,127.0.0.2", "a b", "on", NULL},
        {"host=a,b,c,d,e,f,g,h", "a b c d e f g h", "on", NULL},
        {"host=a,b,c,d,e,f,g,h,i", NULL, "on", NULL},
        {"host=a,b port=1,2,3", NULL, "on", NULL},
        {"host=a,b hostaddr=127.0.0.1", NULL, "on", NULL},
        {"port=1,2", NULL, "on", NULL},
        {"nothing", NULL, "on", NULL},
        {"options='-c synchronous_commit=remote_apply'", "default host", "remote_apply", NULL},
        {"options='-csynchronous_commit=off  --synchronous_commit=local '", "default host", "local",
         NULL},
        {"options='-c jit=off'", "default host", "on", "-c jit=off"},
        {"options='-c jit=off -c synchronous_commit=local'", "default host", "local",
         "-c jit=off -c synchronous_commit=local"},
        {"options='-c a=b=c'", "default host", "on", "-c a=b=c"},
        {"options='='", "default host", "on", "="},
        {"options='-S 1024'", "default host", "on", "-S 1024"},
        {"options='-c Synchronous-Commit=local\t'", "default host", "local", NULL},
        {"options='-c xsynchronous_commit=a'", "default host", "on", "-c xsynchronous_commit=a"},
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
        CU_ASSERT_STRING_EQUAL(u.commit, rows[i].commit);
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
                                  "options=-c synchronous_commit=remote_apply\n"
                                  "target_session_attrs=standby\n";
    static const struct {
        const char *url, *names, *commit;
    } rows[] = {
        {"service=parley", "a:1 b:2", "remote_apply"},
        {"host=c,d service=parley", "c:1 d:2", "remote_apply"},
        {"", "e:5432 f:7", "on"},
        {"host=g", "g", "on"},
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
        CU_ASSERT_STRING_EQUAL(u.commit, rows[i].commit);
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
