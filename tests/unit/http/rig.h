/* SPDX-License-Identifier: MIT */
/* A request for tests, with its context and response. */
#ifndef PARLEY_TESTS_HTTP_RIG_H
#define PARLEY_TESTS_HTTP_RIG_H

#include "../suite.h"
#include "parley/http/request.h"
#include "parley/http/response.h"

struct http_rig {
    struct request_ctx *ctx; /* test_ctx() */
    struct http_request req;
    struct http_response res;
    struct http_pair headers[6]; /* the request's */
};

/* In the arena of a new test_ctx(). The texts are borrowed. */
struct http_rig *http_rig(const char *method, const char *target);
/* Adds a header to the request. */
void http_rig_send(struct http_rig *r, const char *name, struct sv value);
/* A response header as a C string in the arena; "": absent. */
const char *http_rig_header(struct http_rig *r, const char *name);
/* The response's body as a C string in the arena. */
const char *http_rig_body(struct http_rig *r);

#endif
