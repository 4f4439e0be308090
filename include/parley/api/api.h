/*
 * The HTTP interfaces: thin handlers over the session module (native), and the operations routes.
 * Compiles and is tested without fcgi/: both answer functions take and give plain structs.
 */
#ifndef PARLEY_API_API_H
#define PARLEY_API_API_H

#include <stdatomic.h>
#include <stddef.h>

#include "parley/cache/cache.h"
#include "parley/db/db.h"
#include "parley/http/request.h"
#include "parley/http/response.h"
#include "parley/obs/metrics.h"
#include "parley/session/session.h"

/* What the handlers work with; all borrowed, filled by the worker (or a test). */
struct api_service {
    struct sessions *sessions;
    struct db *db;
    struct cache *cache;
    int64_t request_ms;               /* the deadline of each request */
    struct metrics_slot *slot;        /* of this worker; may be NULL */
    const struct metrics_slot *slots; /* of all workers of the host, for /metrics */
    size_t n_slots;
    const char *version;
    int exports_max; /* exports at once in this worker; 0: any number */
    atomic_int exports;
};

/* Labels of the native routes by route index, for metrics_render. One more than the routes: the
 * last is for requests that matched none. */
const char *const *api_route_names(size_t *n);

/* service: struct api_service. Fit fcgi_answer_fn. */
void api_answer(void *service, struct arena *arena, struct http_request *req,
                struct http_response *res);
void ops_answer(void *service, struct arena *arena, struct http_request *req,
                struct http_response *res);

#endif
