/*
 * Conditional requests (RFC 9110, section 13). A session has two entity tags: "<generation>.v<n>"
 * for the whole (version) and "<generation>.s<n>" for the state (state_version), which appends do
 * not change.
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

/* The two tags in the arena, without quotes. */
MUSTCHECK struct sv http_etag_version(struct arena *a, int64_t generation, int64_t version);
MUSTCHECK struct sv http_etag_state(struct arena *a, int64_t generation, int64_t state_version);

#endif
