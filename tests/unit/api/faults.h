/* SPDX-License-Identifier: MIT */
/* Helpers for tests of bodies. In JSON texts a single quote stands for a double one. */
#ifndef PARLEY_TESTS_API_FAULTS_H
#define PARLEY_TESTS_API_FAULTS_H

#include "../suite.h"
#include "parley/json/json_reader.h"

struct fault {
    const char *field, *texts; /* separated by | */
};
typedef enum err (*read_fn)(const struct json_input *body);

/* The body of that text, in the arena. */
const struct json_input *parse(struct request_ctx *ctx, const char *text);
void expect_json(struct sv got, const char *want); /* NULL: absent */
/* Each text is refused, and the error names this field. */
void expect_faults(const struct fault *faults, size_t n, read_fn read);
/* The text is refused with this detail. */
void expect_detail(const char *text, const char *detail, read_fn read);

#endif
