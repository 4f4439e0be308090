/* SPDX-License-Identifier: MIT */
/* A request made by hand, with the arena and the context that it lives in. */
#ifndef PARLEY_TESTS_HTTP_RIG_H
#define PARLEY_TESTS_HTTP_RIG_H

#include "parley/http/request.h"
#include "parley/http/response.h"

struct http_rig {
    struct arena *arena; /* owned */
    struct request_ctx ctx;
    struct http_request req;
    struct http_response res;
};

/* limit: bytes of the arena. The texts are borrowed and must outlive the rig. */
void http_rig_open(struct http_rig *r, size_t limit, const char *method, struct sv target);
void http_rig_close(struct http_rig *r);
/* A response header's value as a C string in the arena; "" when it is not there. */
const char *http_rig_header(struct http_rig *r, const char *name);
/* The body, likewise. */
const char *http_rig_body(struct http_rig *r);

#endif
