/* SPDX-License-Identifier: MIT */
#include "parley/base/err.h"

const char *err_name(enum err e)
{
    static const char *const names[ERR_COUNT] = {
        [ERR_NONE] = "none",
        [ERR_INVALID] = "invalid",
        [ERR_UNAUTHENTICATED] = "unauthenticated",
        [ERR_FORBIDDEN] = "forbidden",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_METHOD] = "method_not_allowed",
        [ERR_NOT_ACCEPTABLE] = "not_acceptable",
        [ERR_CONFLICT] = "conflict",
        [ERR_BUSY] = "busy",
        [ERR_PRECONDITION] = "precondition_failed",
        [ERR_TOO_LARGE] = "too_large",
        [ERR_URI_TOO_LONG] = "uri_too_long",
        [ERR_MEDIA_TYPE] = "unsupported_media_type",
        [ERR_NO_WINDOW] = "no_window",
        [ERR_KEY_REUSED] = "idempotency_key_reused",
        [ERR_LIMITED] = "rate_limited",
        [ERR_TIMEOUT] = "timeout",
        [ERR_OVERLOAD] = "overload",
        [ERR_UNAVAILABLE] = "unavailable",
        [ERR_OUTCOME_UNKNOWN] = "outcome_unknown",
        [ERR_NOMEM] = "out_of_memory",
        [ERR_INTERNAL] = "internal",
    };
    if ((unsigned)e >= ERR_COUNT || !names[e])
        return "unknown";
    return names[e];
}
