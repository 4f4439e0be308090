/*
 * The HTTP interfaces: api_dispatch answers those of clients, ops_dispatch the operations routes.
 * Both take and fill plain structs, know nothing of FastCGI, and may be called by many threads at
 * once. A failed request is answered too, so neither returns an error.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "parley/auth/auth.h"
#include "parley/cache/cache.h"
#include "parley/db/db.h"
#include "parley/db/hosts.h"
#include "parley/http/request.h"
#include "parley/http/response.h"
#include "parley/json/json_writer.h"
#include "parley/obs/history.h"
#include "parley/session/session.h"

/* One setting by its name; text NULL: it is the number. */
typedef void (*api_setting_fn)(void *arg, const char *name, const char *text, int64_t number);
/* Two worker sets of 256. */
enum { API_SLOTS_MAX = 512, API_REASON_MAX = 240 };

enum api_worker_state { API_WORKER_STARTING, API_WORKER_SERVING, API_WORKER_LEAVING };

/* What the supervisor says of the host, in memory that it shares with the workers. It alone writes,
 * and any thread may read. */
struct api_host {
    _Atomic int64_t worker_set; /* number of the current one: 1, and one more with each reload */
    _Atomic int64_t reloads, reloads_refused, recycled, deaths;
    _Atomic pid_t supervisor;
    int64_t started_at;            /* of the service; wall clock, us */
    _Atomic int64_t crash_looping; /* workers that keep dying */
    _Atomic size_t n_slots; /* metrics slots that are or have been in use: 0 to n_slots - 1 */
    struct {
        _Atomic pid_t pid; /* 0: no worker has this number now */
        _Atomic int64_t worker_set;
        _Atomic int state; /* enum api_worker_state */
    } workers[API_SLOTS_MAX];
    _Atomic unsigned reasons; /* that were set; the last one is reason[reasons % 2] */
    char reason[2][API_REASON_MAX];
};
/* Why the last reload was refused, for /status; "" when it was done, or there was none. A reader
 * keeps the text that it has found: only the reason after the next one replaces it. */
void api_host_set_reload_reason(struct api_host *host, const char *reason);

/* What the handlers work with. All is borrowed; the worker fills it before the first request. */
struct api_service {
    struct auth *auth;
    struct sessions *sessions;
    struct db *db;
    struct cache *cache;
    int64_t request_ms; /* deadline of a request, from the moment the web server passed it on */
    int64_t queue_ms;   /* a request that waited longer is refused; 0: no bound but the deadline */
    int64_t slow_ms;    /* a request that took at least this long is logged */
    bool log_debug;     /* a request that was refused is logged, too, with the reason */
    struct metrics_slot *slot;        /* of this worker; may be NULL */
    const struct metrics_slot *slots; /* of all workers of the host, host->n_slots of them */
    const struct api_host *host;
    const struct metrics_history *history; /* NULL: there is none */
    const char *version;
    bool known_roles;         /* PARLEY_ROLES=known */
    bool search;              /* PARLEY_SEARCH=on */
    const char *cors_origins; /* PARLEY_CORS_ORIGINS; NULL: none */
    int64_t items_max;        /* items in one request of OpenAI's interface */
    int exports_max;          /* exports at once in this worker; 0: any number */
    pthread_mutex_t exports_lock;
    LIST_HEAD(exports, export) exports; /* those under way; under the lock */
    pthread_mutex_t calls_lock;
    LIST_HEAD(calls, call) calls; /* requests that are being answered; under the lock */
    const char *operations_allow; /* see net_allows; borrowed. NULL: this machine alone */
    /* For /status and /readyz alone. */
    const struct db_hosts_shared *hosts; /* may be NULL */
    /* Gives each setting that holds no secret. */
    void (*each_setting)(const void *settings, api_setting_fn each, void *arg);
    const void *settings;
};

/* The names of all routes for metrics_render, by the index that metrics_request was given; returns
 * how many. The last one, "none", is for requests that matched no route. */
size_t api_route_names(const char *out[METRICS_ROUTES_MAX]);

/* service: struct api_service *. The type is fcgi_answer_fn. */
void api_dispatch(void *service, struct arena *arena, struct http_request *req,
                  struct http_response *res);
/* Whether a handler has run for longer than limit_us, which is long after the deadline of its
 * request. Each such handler is logged once, with its request. */
bool api_hangs(struct api_service *api, int64_t limit_us);
/* For fcgi_settings: GETs of one session each, whose stamps are read together
 * (session_ahead_read). */
bool api_gathers(void *service, struct sv target);
void api_read_ahead(void *service, struct arena *const *arenas, struct http_request *const *reqs,
                    size_t n);
/* The members of an object, as /status and parley host list show a host. */
void api_put_host(struct json_writer *j, const struct db_host *host);
void ops_dispatch(void *service, struct arena *arena, struct http_request *req,
                  struct http_response *res);
