#include "suite.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/Basic.h>

static struct suite *suites;
static struct test *tests;
static struct request_ctx ctx;

struct request_ctx *test_ctx(void)
{
    struct arena *a = ctx.arena ? ctx.arena : arena_create(64 << 20);
    arena_reset(a);
    ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("req-1"));
    return &ctx;
}

static void tear_down(void)
{
    arena_destroy(ctx.arena);
    ctx.arena = NULL;
}

/* In the order of files and lines. */
void test_register(struct test *t)
{
    struct test **at = &tests;
    while (*at && (strcmp((*at)->file, t->file) < 0 ||
                   (strcmp((*at)->file, t->file) == 0 && (*at)->line < t->line)))
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

void suite_register(struct suite *s)
{
    s->next = suites;
    suites = s;
}

static int add(const struct suite *s)
{
    CU_pSuite suite = CU_add_suite_with_setup_and_teardown(s->name, NULL, NULL, NULL, tear_down);
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

/* Adds the tests of one file. t is its first. */
static int add_file(const struct test *t, const char *text)
{
    char kind[32] = "", folder[32] = "", file[64] = "", name[120];
    (void)sscanf(t->file, "tests/%31[^/]/%31[^/]/test_%63[^.]", kind, folder, file);
    if (strcmp(kind, "service") == 0)
        snprintf(name, sizeof(name), "service %s %s", folder, file);
    else
        snprintf(name, sizeof(name), "%s/%s", folder, file);
    if (!is_wanted(name, text))
        return 0;
    CU_pSuite suite = CU_add_suite_with_setup_and_teardown(name, NULL, NULL, NULL, tear_down);
    for (const char *path = t->file; t && strcmp(t->file, path) == 0; t = t->next)
        if (!suite || !CU_add_test(suite, t->name, t->run))
            return -1;
    return 0;
}

/* unit [TEXT]: runs the suites whose name holds TEXT. Without TEXT it runs all but those of make
 * test-faults, whose names begin with faults/. Last line: "N passed, N failed", counts of tests. */
int main(int argc, char **argv)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    for (const struct suite *s = suites; s; s = s->next)
        if (is_wanted(s->name, argc > 1 ? argv[1] : NULL) && add(s) != 0)
            return 2;
    const char *last = "";
    for (const struct test *t = tests; t; last = t->file, t = t->next)
        if (strcmp(t->file, last) != 0 && add_file(t, argc > 1 ? argv[1] : NULL) != 0)
            return 2;
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned run = CU_get_number_of_tests_run();
    unsigned failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
    /* CUnit's runner always returns 0. */
    int bad = CU_get_number_of_failures() != 0 || run == 0 || failed != 0;
    for (CU_pFailureRecord f = CU_get_failure_list(); f; f = f->pNext)
        printf("FAIL %s, %s: %s:%u\n", f->pSuite ? f->pSuite->pName : "",
               f->pTest ? f->pTest->pName : "", f->strFileName, f->uiLineNumber);
    CU_cleanup_registry();
    printf("%u passed, %u failed\n", run - failed, failed);
    return bad;
}
