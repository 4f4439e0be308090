/* SPDX-License-Identifier: MIT */
/*
 * The error enum. Every function that can fail returns it and is MUSTCHECK. The details (the field,
 * the sentence for the client, the cause for the log) go into the request context with ctx_fail
 * (parley/base/ctx.h). http/problem.c maps errors to HTTP statuses, db/db_sqlstate.c maps SQLSTATE
 * to errors.
 */
#pragma once

#define MUSTCHECK         __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/* Returns the error of a call that failed. Only where nothing has to be released. */
#define TRY(call)                        \
    do {                                 \
        const enum err try_err = (call); \
        if (try_err != ERR_NONE)         \
            return try_err;              \
    } while (0)

/* Each with its stable name. */
/* clang-format off */
#define ERRORS(X) \
    X(ERR_NONE, "none") \
    X(ERR_INVALID, "invalid") /* the client sent something wrong; the field is named */ \
    X(ERR_UNAUTHENTICATED, "unauthenticated") /* no key, or one that is not known */ \
    X(ERR_FORBIDDEN, "forbidden") /* from another machine, with PARLEY_AUTH=off */ \
    X(ERR_NOT_FOUND, "not_found") /* absent, expired or another tenant's: deliberately the same */ \
    X(ERR_METHOD, "method_not_allowed") /* the path exists, the method does not */ \
    X(ERR_NOT_ACCEPTABLE, "not_acceptable") /* the client accepts no JSON */ \
    X(ERR_CONFLICT, "conflict") /* an id is taken */ \
    X(ERR_BUSY, "busy") /* the same keyed request is still running, or a row stayed locked */ \
    X(ERR_PRECONDITION, "precondition_failed") /* If-Match or If-None-Match did not hold */ \
    X(ERR_TOO_LARGE, "too_large") /* body, or a bounded collection */ \
    X(ERR_URI_TOO_LONG, "uri_too_long") \
    X(ERR_MEDIA_TYPE, "unsupported_media_type") \
    X(ERR_NO_WINDOW, "no_window") /* no messages can be sent to a model as it was asked */ \
    X(ERR_TOO_MANY, "too_many_messages") /* more than one statement can remove in its time */ \
    X(ERR_KEY_REUSED, "idempotency_key_reused") /* the key was used before with another request */ \
    X(ERR_LIMITED, "rate_limited") /* too many requests */ \
    X(ERR_TIMEOUT, "timeout") /* the deadline ran out and nothing was changed */ \
    X(ERR_OVERLOAD, "overload") /* the pool or the queue is full; nothing was done */ \
    X(ERR_UNAVAILABLE, "unavailable") /* PostgreSQL is away; nothing was done */ \
    X(ERR_OUTCOME_UNKNOWN, "outcome_unknown") /* the connection was lost during a change */ \
    X(ERR_NOMEM, "out_of_memory") /* the request's arena reached its limit */ \
    X(ERR_INTERNAL, "internal") /* a bug, or an answer of a server that makes no sense */
/* clang-format on */
#define ERR_VALUE(value, name) value,
enum err { ERRORS(ERR_VALUE) ERR_COUNT };

/* The stable name of an error, such as "not_found": in logs, in metrics and, without a slug, as the
 * problem's code. Never NULL. */
const char *err_name(enum err e);
