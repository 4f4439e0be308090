/* SPDX-License-Identifier: MIT */
/*
 * A request as a plain struct, made by fcgi/ or by a test. Everything is borrowed from the
 * request's arena.
 */
#pragma once

#include "parley/base/ctx.h"
#include "parley/base/names.h"

enum { HTTP_SEGMENTS_MAX = 8, HTTP_PARAMS_MAX = 32, HTTP_URI_MAX = 8192 };

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};

/* A header, whose name is in lower case with hyphens ("if-match"), or a parameter, which is
 * decoded: a NUL follows its name and its value, and none is in them. */
struct http_pair {
    struct sv name, value;
};

struct http_request {
    enum http_method method;
    struct sv method_text;
    struct sv target;                      /* raw REQUEST_URI */
    struct sv segments[HTTP_SEGMENTS_MAX]; /* of the path, decoded: see http_target_parse */
    size_t n_segments;
    struct http_pair params[HTTP_PARAMS_MAX];
    size_t n_params;
    const struct http_pair *headers;
    size_t n_headers;
    struct sv body;        /* absent if there was none */
    size_t body_too_large; /* 0: no; else the limit: a longer body was read and discarded */
    bool body_refused;     /* too little was left of body_memory: it was read and discarded */
    struct sv remote_addr;
    int64_t queued_us;           /* since nginx passed it on; 0: not known */
    struct ctx_hook before_wait; /* for the context in which it is answered */
    void *prepared;              /* owned by the function that reads ahead for it */
    bool ready;                  /* was read ahead: the answer will most likely not wait */
};

/* The detail of a 404 no_such_route. */
#define HTTP_NO_ROUTE "There is no such path; /docs shows all calls."

#define HTTP_OPENAI_BASE "There is no such path: the base URL of OpenAI's clients ends in /v1."

#define HTTP_NO_MODEL                                                             \
    "There is no such path: parley calls no model. Of OpenAI's interface it has " \
    "/v1/conversations."

/* Splits target into segments and params, and decodes each once. ERR_INVALID for a bad escape, a
 * control character, text that is not UTF-8, or too many parameters. ERR_NOT_FOUND for too many
 * segments, ERR_URI_TOO_LONG above HTTP_URI_MAX.
 * "/a//b" has an empty segment, "/a/" ends in one. */
MUSTCHECK enum err http_target_parse(struct request_ctx *ctx, struct http_request *req);
/* Decodes one segment of a path into the arena, as http_target_parse does. */
MUSTCHECK enum err http_segment_decode(struct request_ctx *ctx, struct sv segment, struct sv *out);
enum http_method http_method_parse(struct sv text);
const char *http_method_name(enum http_method method); /* not of HTTP_OTHER */

/* The value of the first one of that name (of a header, in lower case), or SV_NONE. */
struct sv http_pair_get(const struct http_pair *pairs, size_t n, const char *name);
#define http_header_get(req, name) http_pair_get((req)->headers, (req)->n_headers, name)
#define http_param_get(req, name)  http_pair_get((req)->params, (req)->n_params, name)
/* ERR_INVALID if a header that parley reads was sent twice, or has a control character. */
MUSTCHECK enum err http_headers_check(struct request_ctx *ctx, const struct http_request *req);

/* The hexadecimal ids of the trace and of the caller's span in the header traceparent (W3C Trace
 * Context, level 1). False unless there is exactly one such header, and it is valid. */
MUSTCHECK bool http_trace(const struct http_request *req, struct sv *trace, struct sv *parent);

/* ERR_INVALID naming the parameter if it is given twice. */
MUSTCHECK enum err http_param_once(struct request_ctx *ctx, const struct http_request *req,
                                   const char *name);
/* An integer parameter of min to max; fallback if absent. ERR_INVALID names it. */
MUSTCHECK enum err http_param_i64(struct request_ctx *ctx, const struct http_request *req,
                                  const char *name, int64_t min, int64_t max, int64_t fallback,
                                  int64_t *out);
/* ERR_INVALID naming the first parameter that is not known, and those that are. A known name such
 * as metadata.KEY stands for every name with its beginning up to the dot. */
MUSTCHECK enum err http_params_only(struct request_ctx *ctx, const struct http_request *req,
                                    const struct names *known);

/* ---- conditional requests (RFC 9110, section 13) ----
 *
 * A session has two entity tags, with marks in hexadecimal: "<generation>.v<version>.<mark>" for
 * the whole, and "<generation>.s<state version>.<state mark>" for the state, which appends do not
 * change. If-Match also takes the form of LangGraph's checkpoints: "<generation>.c<upper 58 bits of
 * the mark>". */

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
