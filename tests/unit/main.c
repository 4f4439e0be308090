#include "suite.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/Basic.h>

static struct suite *suites;

void suite_register(struct suite *s)
{
    s->next = suites;
    suites = s;
}

static int add(const struct suite *s)
{
    CU_pSuite suite = CU_add_suite(s->name, NULL, NULL);
    if (!suite)
        return -1;
    for (const CU_TestInfo *t = s->tests; t->pName; t++)
        if (!CU_add_test(suite, t->pName, t->pTestFunc))
            return -1;
    return 0;
}

static bool is_wanted(const char *name, const char *text)
{
    return text ? strstr(name, text) != NULL : strncmp(name, "faults/", 7) != 0;
}

/* unit [TEXT]: runs the suites whose name holds TEXT; without it all but those of make test-faults,
 * whose names begin with faults/. Last line: "N passed, N failed" in tests. */
int main(int argc, char **argv)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    for (const struct suite *s = suites; s; s = s->next)
        if (is_wanted(s->name, argc > 1 ? argv[1] : NULL) && add(s) != 0)
            return 2;
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned run = CU_get_number_of_tests_run();
    unsigned failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
    /* CUnit's runner returns 0 whatever happened: the exit status is made here. */
    int bad = CU_get_number_of_failures() != 0 || run == 0 || failed != 0;
    CU_cleanup_registry();
    printf("%u passed, %u failed\n", run - failed, failed);
    return bad;
}
