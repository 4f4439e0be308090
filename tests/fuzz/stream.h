/* SPDX-License-Identifier: MIT */
/* A second reader of FastCGI to compare the first with, written from the specification. */
#ifndef PARLEY_TESTS_FUZZ_STREAM_H
#define PARLEY_TESTS_FUZZ_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "parley/base/arena.h"

enum stream_verdict {
    STREAM_BAD,     /* must not reach a handler */
    STREAM_GOOD,    /* must reach a handler, as this request */
    STREAM_FOREIGN, /* has records of another request, which nginx never sends */
    STREAM_LEFT_OUT /* has what libfcgi itself is known to fail at */
};

/* More memory than this libfcgi takes for a parameter before it has come. */
enum { STREAM_GREED = 1 << 20 };

struct stream_request {
    size_t size; /* bytes of it on the wire */
    bool keep;
    struct sv method, target, body;
};

enum stream_verdict stream_read(struct arena *a, struct sv wire, struct stream_request *out);

#endif
