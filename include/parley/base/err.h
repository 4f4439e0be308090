/* SPDX-License-Identifier: MIT */
/*
 * The error enum. Every function that can fail returns it and is MUSTCHECK. The details (the field,
 * the sentence for the client, the cause for the log) go into the request context with ctx_fail
 * (parley/base/ctx.h). http/problem.c maps errors to HTTP statuses, db/db_sqlstate.c maps SQLSTATE
 * to errors.
 */
#ifndef PARLEY_BASE_ERR_H
#define PARLEY_BASE_ERR_H

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

enum err {
    ERR_NONE = 0,
    ERR_INVALID,         /* the client sent something wrong; the field is named */
    ERR_UNAUTHENTICATED, /* no key, or one that is not known */
    ERR_FORBIDDEN,       /* from another machine, with PARLEY_AUTH=off */
    ERR_NOT_FOUND,       /* absent, expired or another tenant's: deliberately the same */
    ERR_METHOD,          /* the path exists, the method does not */
    ERR_NOT_ACCEPTABLE,  /* the client accepts no JSON */
    ERR_CONFLICT,        /* an id is taken */
    ERR_BUSY,            /* the same keyed request is still running, or a row stayed locked */
    ERR_PRECONDITION,    /* If-Match or If-None-Match did not hold */
    ERR_TOO_LARGE,       /* body, or a bounded collection */
    ERR_URI_TOO_LONG,
    ERR_MEDIA_TYPE,
    ERR_NO_WINDOW,       /* no messages of the session can be sent to a model as it was asked */
    ERR_KEY_REUSED,      /* idempotency key used before with another request */
    ERR_LIMITED,         /* too many requests */
    ERR_TIMEOUT,         /* the deadline ran out and nothing was changed */
    ERR_OVERLOAD,        /* the pool or the queue is full; nothing was done */
    ERR_UNAVAILABLE,     /* PostgreSQL is away; nothing was done */
    ERR_OUTCOME_UNKNOWN, /* the connection was lost while a change was under way */
    ERR_NOMEM,           /* the request's arena reached its limit */
    ERR_INTERNAL,        /* a bug, or an answer of a server that makes no sense */
    ERR_COUNT
};

/* The stable name of an error, such as "not_found": in logs, in metrics and, without a slug, as the
 * problem's code. Never NULL. */
const char *err_name(enum err e);

#endif
