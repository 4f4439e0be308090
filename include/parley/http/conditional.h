/*
 * Conditional requests (RFC 9110, section 13). A session has two entity tags:
 * "<generation>.v<version>.<mark>" for the whole, and "<generation>.s<state version>.<state mark>"
 * for the state, which appends do not change. A mark is in hexadecimal. In If-Match, LangGraph's
 * checkpoints have a third form: "<generation>.c<upper 58 bits of the mark>".
 */
#ifndef PARLEY_HTTP_CONDITIONAL_H
#define PARLEY_HTTP_CONDITIONAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"

enum { HTTP_ETAGS_MAX = 16 };

struct http_condition {
    bool given; /* the header was there */
    bool any;   /* "*" */
    size_t n;
    struct sv
        tags[HTTP_ETAGS_MAX]; /* without quotes; weak ones are left out when strong is asked */
};

/* Parses If-Match (strong) or If-None-Match (weak). An absent value gives given == false. */
MUSTCHECK enum err http_condition_parse(struct request_ctx *ctx, const char *header,
                                        struct sv value, bool strong, struct http_condition *out);
bool http_condition_has(const struct http_condition *c, struct sv tag);

/* The two tags in the arena, without quotes; absent where there is no memory. */
MUSTCHECK struct sv http_etag_version(struct arena *a, int64_t generation, int64_t version,
                                      uint64_t mark);
MUSTCHECK struct sv http_etag_state(struct arena *a, int64_t generation, int64_t state_version,
                                    uint64_t state_mark);

#endif
