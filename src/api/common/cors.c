/* SPDX-License-Identifier: MIT */
/*
 * Pages of other origins (CORS, in the Fetch standard). A browser shows such a page an answer only
 * if the answer names the origin of the page, and first asks with OPTIONS whether it may send what
 * a form could not send. It never adds a key by itself, so an origin that is allowed gets nothing
 * that it has no key for; cookies are not supported.
 */
#include "handler.h"

/* All that the description of the interfaces names, and is not shown without. */
#define EXPOSED                                                                            \
    "Accept-Encoding, Allow, ETag, Idempotent-Replayed, Location, RateLimit, "             \
    "RateLimit-Policy, Retry-After, Retry-After-Ms, WWW-Authenticate, X-Parley-Degraded, " \
    "X-Request-Id, X-Should-Retry"

static bool is_allowed(struct sv origins, struct sv origin)
{
    bool found = false;
    while (origins.p) {
        struct sv word = sv_cut(&origins, ' ');
        while (word.p)
            found = sv_eq_nocase(sv_cut(&word, ','), origin) || found;
    }
    return found && origin.n > 0;
}

void api_cors(const struct api_service *api, const struct http_request *req,
              struct http_response *res)
{
    const struct sv origins = sv_from(api->cors_origins), origin = http_header_get(req, "origin");
    const bool any = sv_eq(origins, SV("*"));
    if (origins.n == 0)
        return;
    if (!any)
        http_response_header(res, "Vary", SV("Origin"));
    if (!origin.p || (!any && !is_allowed(origins, origin)))
        return;
    http_response_header(res, "Access-Control-Allow-Origin", any ? origins : origin);
    http_response_header(res, "Access-Control-Expose-Headers", SV(EXPOSED));
    if (req->method != HTTP_OPTIONS || !http_header_get(req, "access-control-request-method").p)
        return;
    /* So that the page sees the problem document of the request itself, and no failed question. */
    if (res->status == 404) {
        res->status = 204;
        res->content_type = NULL;
    }
    http_response_header(res, "Access-Control-Allow-Methods",
                         SV("GET, HEAD, POST, PUT, PATCH, DELETE"));
    http_response_header(res, "Access-Control-Max-Age", SV("7200"));
    const struct sv headers = http_header_get(req, "access-control-request-headers");
    if (headers.p && sv_all_of(headers, "!#$%&'*+-.^_`|~, "))
        http_response_header(res, "Access-Control-Allow-Headers", headers);
}
