/* SPDX-License-Identifier: MIT */
/* What the native interface's files share: handlers, readers of bodies, writers of answers. */
#ifndef PARLEY_API_NATIVE_H
#define PARLEY_API_NATIVE_H

#include "parley/api/api.h"
#include "parley/http/route.h"
#include "parley/json/read.h"
#include "parley/json/write.h"

/* native_sessions.c, native_messages.c, native_users.c: the handlers, see http_handler. */
enum err native_session_create(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res);
enum err native_session_put(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res);
enum err native_session_get(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res);
enum err native_session_patch(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res);
enum err native_session_delete(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res);
enum err native_messages_append(struct request_ctx *ctx, const struct http_call *call,
                                struct http_response *res);
enum err native_messages_page(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res);
enum err native_message_get(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res);
enum err native_message_delete(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res);
enum err native_user_sessions(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res);
enum err native_user_export(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res);
enum err native_user_delete(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res);

/* native_guard.c: what a request says beside its body, checked; each fault names its field. */
struct sessions *native_sessions(const struct http_call *call);
MUSTCHECK enum err native_no_params(struct request_ctx *ctx, const struct http_request *req);
MUSTCHECK enum err native_no_body(struct request_ctx *ctx, const struct http_request *req);
/* Checked, and in the one form that the session module knows. */
MUSTCHECK enum err native_session_id(struct request_ctx *ctx, struct sv *id);
enum { NATIVE_USER_MAX = 256 }; /* bytes */
#define NATIVE_USER_RULE \
    "1 to 256 bytes of UTF-8 without control characters, and without . or .. between slashes"
bool native_user_valid(struct sv user);
MUSTCHECK enum err native_user_id(struct request_ctx *ctx, struct sv user);
MUSTCHECK enum err native_user(struct request_ctx *ctx, const struct http_request *req,
                               struct sv *out);
/* User, If-Match and idempotency key. */
MUSTCHECK enum err native_guard(struct request_ctx *ctx, const struct http_request *req,
                                struct session_guard *out);

/* native_input.c: what its body says. */

/* The body as an indexed object. optional: no body is an empty object. merge_patch: the media type
 * application/merge-patch+json is taken too. */
enum native_body { NATIVE_BODY_REQUIRED, NATIVE_BODY_OPTIONAL, NATIVE_BODY_PATCH };
MUSTCHECK enum err native_body(struct request_ctx *ctx, const struct http_request *req,
                               enum native_body kind, struct jdoc *out);
/* A body of POST (id absent: it may name one) or PUT. */
MUSTCHECK enum err native_read_draft(struct request_ctx *ctx, const struct jdoc *doc, struct sv id,
                                     struct session_draft *out);
MUSTCHECK enum err native_read_patch(struct request_ctx *ctx, const struct jdoc *doc,
                                     struct session_patch *out);
/* {"role", "content", …}, or {"messages": [...]}; *single tells which. */
MUSTCHECK enum err native_read_messages(struct request_ctx *ctx, const struct jdoc *doc,
                                        struct session_append *out, bool *single);

/* native_output.c */
void native_write_session(struct jout *j, const struct session *s, int64_t now_us);
/* Without messages, and without a context that was not read. */
void native_write_session_alone(struct jout *j, const struct session *s, int64_t now_us);
void native_write_message(struct jout *j, const struct session_message *m);
void native_write_messages(struct jout *j, const char *key, const struct session_message *m,
                           size_t n);
void native_write_degraded(struct jout *j, bool degraded); /* only if it is */
/* ETag with quotes; Location of a session or, with seq > 0, of a message. */
MUSTCHECK enum err native_etag(struct request_ctx *ctx, struct http_response *res, struct sv tag);
/* The ETag of what was read or, since one strong tag has one form, the mark of a degraded answer.
 */
MUSTCHECK enum err native_validator(struct request_ctx *ctx, struct http_response *res,
                                    bool degraded, struct sv tag);
MUSTCHECK enum err native_location(struct request_ctx *ctx, struct http_response *res, struct sv id,
                                   int64_t seq);
void native_replayed(struct http_response *res, const struct session_receipt *receipt);
/* Begins a JSON answer: status, content type and a writer. */
void native_begin(struct http_response *res, int status, struct jout *j);

#endif
