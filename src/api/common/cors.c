/* SPDX-License-Identifier: MIT */
/*
 * Headers for pages of other origins (CORS, in the Fetch standard). A browser shows such a page an
 * answer only if the answer names the page's origin. Before a request that no form could send, the
 * browser sends a preflight request (OPTIONS). A browser adds no API key by itself, so a page of an
 * allowed origin can read only what its own key gives access to.
 */
#include "handler.h"

#include <string.h>

/* All headers of answers in docs/openapi.yaml. A browser shows a page no others, but for a few
 * that CORS always allows. */
#define EXPOSED                                                                            \
    "Accept-Encoding, Allow, ETag, Idempotent-Replayed, Location, RateLimit, "             \
    "RateLimit-Policy, Retry-After, Retry-After-Ms, WWW-Authenticate, X-Parley-Degraded, " \
    "X-Request-Id, X-Should-Retry"

static bool is_allowed(const char *origins, struct sv origin)
{
    for (size_t n; *origins; origins += n + strspn(origins + n, " ,")) {
        n = strcspn(origins, " ,");
        if (n > 0 && sv_eq_nocase((struct sv){origins, n}, origin))
            return true;
    }
    return false;
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
    if (!origin.p || (!any && !is_allowed(api->cors_origins, origin)))
        return;
    http_response_header(res, "Access-Control-Allow-Origin", any ? origins : origin);
    http_response_header(res, "Access-Control-Expose-Headers", SV(EXPOSED));
    if (req->method != HTTP_OPTIONS || !http_header_get(req, "access-control-request-method").p)
        return;
    /* After a failed preflight request the browser would not send the request itself, and the page
     * would not see the 404. */
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
