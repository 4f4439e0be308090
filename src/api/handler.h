/* SPDX-License-Identifier: MIT */
/* What the handlers of all interfaces share: conditions, bodies, the frame of an answer. */
#ifndef PARLEY_API_HANDLER_H
#define PARLEY_API_HANDLER_H

#include "parley/api/api.h"
#include "parley/http/route.h"
#include "parley/json/read.h"
#include "parley/json/write.h"

/* guard.c: what a request says beside its body, checked; each fault names its field. */
struct sessions *api_sessions(const struct http_call *call);
MUSTCHECK enum err api_no_params(struct request_ctx *ctx, const struct http_request *req);
/* Which of two words a parameter is. If it is not given, it counts as the second. */
MUSTCHECK enum err api_param_choice(struct request_ctx *ctx, const struct http_request *req,
                                    const char *name, const char *first, const char *second,
                                    bool *is_first);
MUSTCHECK enum err api_no_body(struct request_ctx *ctx, const struct http_request *req);
/* Checked, and in the one form that the session module knows. */
MUSTCHECK enum err api_session_id(struct request_ctx *ctx, struct sv *id);
enum { API_USER_MAX = 256 }; /* bytes */
#define API_USER_RULE \
    "1 to 256 bytes of UTF-8 without control characters, and without . or .. between slashes"
bool api_user_valid(struct sv user);
MUSTCHECK enum err api_user_id(struct request_ctx *ctx, struct sv user);
MUSTCHECK enum err api_user(struct request_ctx *ctx, const struct http_request *req,
                            struct sv *out);
/* User, If-Match and idempotency key. */
MUSTCHECK enum err api_guard(struct request_ctx *ctx, const struct http_request *req,
                             struct session_guard *out);
/* For what makes a session: If-Match cannot hold. */
MUSTCHECK enum err api_no_match(struct request_ctx *ctx, const struct session_guard *guard);

/* body.c */

/* The body as an indexed object. optional: no body is an empty object. merge_patch: the media type
 * application/merge-patch+json is taken too. */
enum api_body_kind { API_BODY_REQUIRED, API_BODY_OPTIONAL, API_BODY_PATCH };
MUSTCHECK enum err api_body(struct request_ctx *ctx, const struct http_request *req,
                            enum api_body_kind kind, struct jdoc *out);
/* jsonb writes numbers out in full: exponents beyond 20 anywhere in metadata (NULL: none given) are
 * refused. path: of the object that holds it, "" at the top. */
MUSTCHECK enum err api_check_metadata(struct request_ctx *ctx, const struct jdoc *doc,
                                      const struct jnode *metadata, const char *path);
/* ERR_INVALID naming path.field; why follows the name and ends the sentence. */
enum err api_bad_field(struct request_ctx *ctx, const char *path, const char *field,
                       const char *why);
enum { API_NAME_MAX = 64 };
/* A message's type or role: 1 to 64 of A-Z a-z 0-9 - _ . : */
bool api_is_name(struct sv s);
#define API_TTL_MAX INT64_C(3153600000) /* seconds: 100 years */

/* reply.c */

/* Begins a JSON answer: status, content type and a writer. */
struct jout api_begin(struct http_response *res, int status);
/* ETag with quotes. */
MUSTCHECK enum err api_etag(struct request_ctx *ctx, struct http_response *res, struct sv tag);
/* The ETag of what was read or, since one strong tag has one form, the mark of a degraded answer.
 */
MUSTCHECK enum err api_validator(struct request_ctx *ctx, struct http_response *res, bool degraded,
                                 struct sv tag);
void api_mark_degraded(struct http_response *res);
void api_write_degraded(struct jout *j, bool degraded); /* only if it is */
void api_replayed(struct http_response *res, const struct session_receipt *receipt);

#endif
