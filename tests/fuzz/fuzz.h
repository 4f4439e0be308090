/* SPDX-License-Identifier: MIT */
/*
 * What the fuzzers share. Each fuzz_NAME.c is one LLVMFuzzerTestOneInput, which demands of every
 * input that promises hold, and not only that nothing crashes. With replay.c it is a program that
 * runs a corpus; with clang's -fsanitize=fuzzer one that looks for more (make fuzz).
 */
#ifndef PARLEY_TESTS_FUZZ_H
#define PARLEY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"

/* Ends the program with one line when it does not hold. */
#define DEMAND(what) ((what) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #what))
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* An arena with room for whatever a small input may ask for, and a request in it. */
struct fuzz {
    struct arena *arena; /* owned */
    struct request_ctx ctx;
};
void fuzz_open(struct fuzz *f);
void fuzz_close(struct fuzz *f);

/* Inputs of several parts have 0x1e between them, which JSON does not allow. */
enum { FUZZ_CUT = 0x1e };
/* A refusal is the client's fault and says so in valid UTF-8. */
void fuzz_refused(const struct request_ctx *ctx, enum err e);

#endif
