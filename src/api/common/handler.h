/* SPDX-License-Identifier: MIT */
/* What the handlers of all interfaces share: what a request says, bodies, the frame of an answer.
 */
#ifndef PARLEY_API_HANDLER_H
#define PARLEY_API_HANDLER_H

#include "parley/api/api.h"
#include "parley/http/conditional.h"
#include "parley/http/route.h"
#include "parley/json/json_reader.h"
#include "parley/json/json_writer.h"

/* run.c: the one way from a route to its handler. */

/* Flags for what a route reads from the request beside its query parameters, in the order of
 * reading. */
enum api_takes {
    /* The path names a session, in the words of one of the interfaces, or a user. X-Parley-User
     * may name no other user than the path. */
    API_SESSION = 1 << 0,
    API_CONVERSATION = 1 << 1,
    API_THREAD = 1 << 2,
    API_PATH_USER = 1 << 3,
    /* The path names a message of it as well. */
    API_MESSAGE = 1 << 4,
    API_ITEM = 1 << 5,
    API_NO_BODY = 1 << 6,       /* a body is refused */
    API_USER_HEADER = 1 << 7,   /* X-Parley-User */
    API_PRECONDITIONS = 1 << 8, /* X-Parley-User, If-Match and Idempotency-Key */
    API_IF_NONE_MATCH = 1 << 9  /* If-None-Match */
};
/* The body as an indexed object; a route takes one of these, or none. */
enum api_body_kind {
    API_BODY_REQUIRED = 1 << 10,
    API_BODY_OPTIONAL = 1 << 11, /* no body is an empty object */
    API_BODY_PATCH = 1 << 12     /* the media type application/merge-patch+json is taken too */
};

enum { API_PARAMS_MAX = 5 };
struct api_param {
    const char *name;           /* NULL ends a list */
    int64_t min, max, fallback; /* an integer; max 0: the handler reads it */
    const char *words[2];       /* or one of two words: its index, and 0 where it is not given */
};
extern const struct api_param api_no_params[];

/* A request as its route takes it, and what its answer is made of. */
struct api_call {
    struct request_ctx *ctx;
    const struct http_request *req;
    struct http_response *res;
    struct api_service *api;
    struct sessions *sessions;
    struct sv id, sub_id;           /* from the path; in canonical form if takes names them */
    int64_t params[API_PARAMS_MAX]; /* as in the route's list */
    struct session_precondition precondition; /* of a read: the user alone */
    struct http_condition unless;
    struct json_doc doc;
    struct session session;         /* room for the answer's */
    struct session_receipt receipt; /* if it is a replay, the answer says so */
};

typedef enum err api_handler(struct api_call *c);
struct api_route {
    struct http_route http; /* its handler is api_run */
    struct api_route_spec {
        api_handler *handler;
        unsigned takes; /* of enum api_takes and enum api_body_kind */
        /* All query parameters that it allows; NULL: the query is ignored. */
        const struct api_param *params;
    } spec;
};
http_handler api_run;
api_handler api_session_delete; /* 204 */

/* precondition.c: what a request says beside its body, checked; each fault names its field. */

MUSTCHECK enum err api_no_body(struct request_ctx *ctx, const struct http_request *req);
/* Checked, and in the one form that the session module knows. name: "session_id", or what an
 * interface calls it. */
MUSTCHECK enum err api_session_id(struct request_ctx *ctx, const char *name, struct sv *id);
enum { API_USER_MAX = 256 }; /* bytes */
#define API_USER_RULE \
    "1 to 256 bytes of UTF-8 without control characters, and without . or .. between slashes"
bool api_user_valid(struct sv user);
MUSTCHECK enum err api_user(struct request_ctx *ctx, const struct http_request *req,
                            struct sv *out);
/* User, If-Match and idempotency key. */
MUSTCHECK enum err api_precondition(struct request_ctx *ctx, const struct http_request *req,
                                    struct session_precondition *out);
/* For what makes a session: If-Match cannot hold. */
MUSTCHECK enum err api_no_match(struct request_ctx *ctx,
                                const struct session_precondition *precondition);

/* body.c */

MUSTCHECK enum err api_body(struct request_ctx *ctx, const struct http_request *req,
                            enum api_body_kind kind, struct json_doc *out);
/* jsonb writes numbers out in full: exponents beyond 20 anywhere in metadata (NULL: none given) are
 * refused. path: of the object that holds it, "" at the top. */
MUSTCHECK enum err api_check_metadata(struct request_ctx *ctx, const struct json_doc *doc,
                                      const struct json_node *metadata, const char *path);
/* ERR_INVALID naming path.field; why follows the name and ends the sentence. */
enum err api_bad_field(struct request_ctx *ctx, const char *path, const char *field,
                       const char *why);
/* *index: which of a closed list of words it is. ERR_INVALID with slug, naming path.field and the
 * words that are allowed. */
MUSTCHECK enum err api_word_index(struct request_ctx *ctx, const char *slug, const char *path,
                                  const char *field, const struct names *words, struct sv word,
                                  size_t *index);
typedef enum err api_draft_reader(struct request_ctx *ctx, const struct json_doc *doc,
                                  const struct json_node *node, const char *path,
                                  struct session_message_draft *out);
/* node: one draft, or an array of them. path: node's place in the body. */
MUSTCHECK enum err api_read_drafts(struct request_ctx *ctx, const struct json_doc *doc,
                                   const struct json_node *node, const char *path,
                                   api_draft_reader *read, const struct session_message_draft **out,
                                   size_t *n);
/* A message's type or role. */
enum { API_NAME_MAX = 64 };
MUSTCHECK enum err api_check_name(struct request_ctx *ctx, const char *path, const char *field,
                                  struct sv name);
/* Text or parts; NULL: it was not given. */
MUSTCHECK enum err api_check_content(struct request_ctx *ctx, const char *path,
                                     const struct json_node *content);
/* Checks a message's id and brings it into its one form; may be absent. */
MUSTCHECK enum err api_message_id(struct request_ctx *ctx, const char *path, const char *field,
                                  struct sv *id);
#define API_TTL_MAX INT64_C(3153600000) /* seconds: 100 years */

/* reply.c */

/* Begins a JSON answer: status, content type and a writer. */
struct json_writer api_begin(struct http_response *res, int status);
/* Sets the ETag. A degraded answer has other bytes, so it gets X-Parley-Degraded instead. Sets
 * status 304 if If-None-Match has the tag; the answer then has no body. */
MUSTCHECK enum err api_set_etag(struct api_call *c, bool degraded, struct sv tag);
/* The same of c->session: of all of it, or of its state. */
MUSTCHECK enum err api_set_etag_session(struct api_call *c);
MUSTCHECK enum err api_set_etag_state(struct api_call *c);
MUSTCHECK enum err api_set_etag_receipt(struct api_call *c);
void api_mark_degraded(struct http_response *res);
void api_write_degraded(struct json_writer *j, bool degraded); /* only if it is */

#endif
