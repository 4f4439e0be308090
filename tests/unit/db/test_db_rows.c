/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../suite.h"

/* A result of one row as a server would send it. */
static struct db_rows one_row(const char *name, Oid type, const char *value, int length)
{
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    char copy[64], bytes[64] = {0};
    snprintf(copy, sizeof(copy), "%s", name);
    if (value)
        memcpy(bytes, value, (size_t)length);
    PGresAttDesc column = {.name = copy, .format = 1, .typid = type, .typlen = -1};
    CU_ASSERT_EQUAL(PQsetResultAttrs(res, 1, &column), 1);
    CU_ASSERT_EQUAL(PQsetvalue(res, 0, 0, value ? bytes : NULL, value ? length : -1), 1);
    return (struct db_rows){.result = res, .count = 1};
}

TEST(values)
{
    struct db_rows r = one_row("fooBar", OID_INT4, "\xff\xff\xff\xfe", 4);
    CU_ASSERT_EQUAL(db_column(&r, "fooBar"), 0);
    CU_ASSERT_EQUAL(db_get_i64(&r, 0, 0), -2);
    PQclear(r.result);
    r = one_row("a", OID_JSONB, "\1{}", 3);
    CU_ASSERT_TRUE(sv_eq(db_get_text(&r, 0, 0), SV("{}")));
    PQclear(r.result);
    r = one_row("a", OID_TEXT, "", 0);
    CU_ASSERT_FALSE(db_is_null(&r, 0, 0));
    CU_ASSERT_PTR_NOT_NULL(db_get_text(&r, 0, 0).p);
    PQclear(r.result);
    r = one_row("a", OID_TIMESTAMPTZ, "\0\0\0\0\0\0\0\1", 8);
    CU_ASSERT_EQUAL(db_get_time(&r, 0, 0), INT64_C(946684800000001));
    PQclear(r.result);
    r = one_row("a", OID_TEXT, NULL, 0);
    CU_ASSERT_TRUE(db_is_null(&r, 0, 0));
    CU_ASSERT_PTR_NULL(db_get_text(&r, 0, 0).p);
    PQclear(r.result);
}

enum mistake { NO_COLUMN, NO_ROW, NOT_TEXT, NOT_INTEGER, NOT_BOOL, NOT_TIME };

static void make(enum mistake m)
{
    struct db_rows r = one_row("a", m == NOT_TEXT ? OID_INT8 : OID_TEXT, "12345678", 8);
    if (m == NO_COLUMN)
        (void)db_column(&r, "A");
    else if (m == NO_ROW)
        (void)db_is_null(&r, 1, 0);
    else if (m == NOT_TEXT)
        (void)db_get_text(&r, 0, 0);
    else if (m == NOT_INTEGER)
        (void)db_get_i64(&r, 0, 0);
    else if (m == NOT_BOOL)
        (void)db_get_bool(&r, 0, 0);
    else
        (void)db_get_time(&r, 0, 0);
}

TEST(mistakes_end_the_process)
{
    for (enum mistake m = NO_COLUMN; m <= NOT_TIME; m++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            signal(SIGABRT, SIG_DFL);
            fclose(stderr);
            close(2);
            make(m);
            _exit(0);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}
