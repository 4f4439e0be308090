/* SPDX-License-Identifier: MIT */
/*
 * Shared by the fuzzers. Each fuzz_NAME.c has one LLVMFuzzerTestOneInput, which checks for every
 * input not only that nothing crashes, but that the rules at the head of the file hold. Linked with
 * replay.c it runs a corpus; linked with clang's -fsanitize=fuzzer it searches (make fuzz).
 */
#ifndef PARLEY_TESTS_FUZZ_H
#define PARLEY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"

/* Ends the program with one line when the condition is false. */
#define DEMAND(what) ((what) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #what))
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A request, in an arena that is large enough for any small input. */
struct fuzz {
    struct arena *arena; /* owned */
    struct request_ctx ctx;
};
void fuzz_open(struct fuzz *f);
void fuzz_close(struct fuzz *f);

/* 0x1e separates the parts of an input; JSON does not allow it. */
enum { FUZZ_CUT = 0x1e };
/* Checks that a refusal is an error of the client, in valid UTF-8. */
void fuzz_refused(const struct request_ctx *ctx, enum err e);

#endif
