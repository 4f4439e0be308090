/*
 * Suites mirror src/: tests/unit/<room>/test_<file>.c registers one
 * CUnit suite with SUITE(). Assertions are the non-fatal ones.
 */
#ifndef PARLEY_TESTS_SUITE_H
#define PARLEY_TESTS_SUITE_H

#include <CUnit/CUnit.h>

/* A suite registers itself before main: no list to keep in step with the files. */
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
