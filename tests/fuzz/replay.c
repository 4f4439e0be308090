/* SPDX-License-Identifier: MIT */
/*
 * replay NAME FILE…: gives each file to the fuzzer that this is linked with, each in a process of
 * its own, since a failed check ends it. Last line: N passed, N failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

/* Bounds what hangs. */
enum { PATIENCE_S = 60 };

/* In memory that ends where the input does, so that a sanitizer sees a read beyond it. */
static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    long size = -1;
    if (f && fseek(f, 0, SEEK_END) == 0)
        size = ftell(f);
    uint8_t *p = size >= 0 ? malloc(size > 0 ? (size_t)size : 1) : NULL;
    *n = (size_t)size;
    bool whole = p && fseek(f, 0, SEEK_SET) == 0 && fread(p, 1, *n, f) == *n;
    if (f)
        fclose(f);
    if (whole)
        return p;
    free(p);
    return NULL;
}

static bool replay(const char *path)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        size_t n = 0;
        uint8_t *p = read_file(path, &n);
        if (!p)
            exit(2);
        (void)alarm(PATIENCE_S);
        LLVMFuzzerTestOneInput(p, n);
        free(p);
        exit(0); /* with the destructors: a sanitizer looks for leaks in one */
    }
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 2; i < argc; i++) {
        if (replay(argv[i]))
            continue;
        printf("FAIL %s: %s\n", argv[1], argv[i]);
        failed++;
    }
    printf("%d passed, %d failed\n", argc > 2 ? argc - 2 - failed : 0, failed);
    return failed > 0 || argc < 3;
}
