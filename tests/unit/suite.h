/*
 * The framework of the unit and service tests, over CUnit. Tests mirror src/: those of
 * tests/unit/FOLDER/test_FILE.c are the suite FOLDER/FILE, those of
 * tests/service/FOLDER/test_FILE.c the suite "service FOLDER FILE". Assertions are the non-fatal
 * ones, unless the rest of a test depends on them.
 */
#ifndef PARLEY_TESTS_SUITE_H
#define PARLEY_TESTS_SUITE_H

#include <CUnit/CUnit.h>

#include "parley/base/ctx.h"

/* A new context of a request over an empty arena of 64 MiB. Valid until the next call or the end of
 * the test. */
struct request_ctx *test_ctx(void);

/* A test registers itself before main. */
struct test {
    const char *file;
    int line;
    const char *name;
    CU_TestFunc run;
    struct test *next;
};
void test_register(struct test *t);

#define TEST(name)                                                            \
    static void name(void);                                                   \
    static struct test name##_test = {__FILE__, __LINE__, #name, name, NULL}; \
    __attribute__((constructor)) static void name##_register(void)            \
    {                                                                         \
        test_register(&name##_test);                                          \
    }                                                                         \
    static void name(void)

/* A suite with its own name and order. */
struct suite {
    const char *name;
    const CU_TestInfo *tests; /* ends with CU_TEST_INFO_NULL */
    struct suite *next;
};
void suite_register(struct suite *s);

#define SUITE(id, label, ...)                                                 \
    static const CU_TestInfo id##_tests[] = {__VA_ARGS__, CU_TEST_INFO_NULL}; \
    static struct suite id##_suite = {label, id##_tests, NULL};               \
    __attribute__((constructor)) static void id##_register(void)              \
    {                                                                         \
        suite_register(&id##_suite);                                          \
    }

#endif
