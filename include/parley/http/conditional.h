/* SPDX-License-Identifier: MIT */
/*
 * Conditional requests (RFC 9110, section 13). A session has two entity tags, with marks in
 * hexadecimal: "<generation>.v<version>.<mark>" for the whole, and "<generation>.s<state
 * version>.<state mark>" for the state, which appends do not change. If-Match also takes the form
 * of LangGraph's checkpoints: "<generation>.c<upper 58 bits of the mark>".
 */
#ifndef PARLEY_HTTP_CONDITIONAL_H
#define PARLEY_HTTP_CONDITIONAL_H

#include "parley/base/ctx.h"

enum { HTTP_ETAGS_MAX = 16 };

struct http_condition {
    bool given; /* the header was sent */
    bool any;   /* "*" */
    size_t n;
    struct sv tags[HTTP_ETAGS_MAX]; /* without W/ and quotes */
};

/* Parses the value of If-Match or If-None-Match, which may be absent. W/ before a tag is ignored:
 * for If-Match a deviation from RFC 9110, section 13.1.1. */
MUSTCHECK enum err http_condition_parse(struct request_ctx *ctx, const char *header,
                                        struct sv value, struct http_condition *out);
bool http_condition_has(const struct http_condition *c, struct sv tag);

/* A tag, without quotes, in the arena: 'v' with version and mark, or 's' with those of the state.
 * SV_NONE: no memory. */
MUSTCHECK struct sv http_etag(struct arena *a, int64_t generation, char kind, int64_t version,
                              uint64_t mark);

#endif
