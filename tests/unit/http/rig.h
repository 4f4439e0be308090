/* SPDX-License-Identifier: MIT */
/* A request made by hand, with the context that it lives in. */
#ifndef PARLEY_TESTS_HTTP_RIG_H
#define PARLEY_TESTS_HTTP_RIG_H

#include "../suite.h"
#include "parley/http/request.h"
#include "parley/http/response.h"

struct http_rig {
    struct request_ctx *ctx; /* test_ctx() */
    struct http_request req;
    struct http_response res;
    struct http_header headers[4]; /* the request's */
};

/* In the arena of a new context. The texts are borrowed. */
struct http_rig *http_rig(const char *method, const char *target);
/* One header more. */
void http_rig_send(struct http_rig *r, const char *name, struct sv value);
/* A response header's value as a C string in the arena; "" when it is not there. */
const char *http_rig_header(struct http_rig *r, const char *name);
/* The body, likewise. */
const char *http_rig_body(struct http_rig *r);

#endif
