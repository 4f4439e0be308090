/* SPDX-License-Identifier: MIT */
/*
 * What the handlers of all interfaces share. api_run reads from a request what its route's table
 * entry names, calls the handler with the values, and the handler calls the session module and
 * writes the answer. A call and all that it points to belong to one request and one thread.
 */
#pragma once

#include "parley/api/api.h"
#include "parley/http/route.h"
#include "parley/json/json_reader.h"
#include "parley/json/json_writer.h"

/* ---- route_run.c ---- */

/* What a route reads apart from query parameters. It is read in this order, and the first fault is
 * the answer. */
enum api_takes {
    /* The path names a session, by the name that an interface has for it, or a user. With a user
     * in the path, X-Parley-User may name no other one. */
    API_SESSION = 1 << 0,
    API_CONVERSATION = 1 << 1,
    API_THREAD = 1 << 2,
    API_PATH_USER = 1 << 3,
    /* The path also names a message of the session. A number is its seq, but for ?by=id; an item is
     * always named by its id. */
    API_MESSAGE = 1 << 4,
    API_ITEM = 1 << 5,
    API_NO_BODY = 1 << 6,       /* a body is refused */
    API_USER_HEADER = 1 << 7,   /* X-Parley-User */
    API_PRECONDITIONS = 1 << 8, /* X-Parley-User, If-Match, Idempotency-Key: it changes something */
    API_CREATES = 1 << 9,       /* a session: If-Match is refused */
    API_IF_NONE_MATCH = 1 << 10, /* If-None-Match */
    API_FORKS = 1 << 14,         /* reads nothing more; makes a session beside the one it names */
    API_ANY_TOKEN = 1 << 15      /* reads nothing more; a token for one session may use it, too */
};
/* The body, which is a JSON object. A route takes one of these, or none. */
enum api_body_kind {
    API_BODY_REQUIRED = 1 << 11,
    API_BODY_OPTIONAL = 1 << 12, /* no body is an empty object */
    API_BODY_PATCH = 1 << 13     /* application/merge-patch+json is accepted as well */
};

enum { API_PARAMS_MAX = 8, API_LIST = -1 };
struct api_param {
    const char *name;           /* NULL ends a list */
    int64_t min, max, fallback; /* of an integer; max 0: the handler reads it; API_LIST: so, and it
                                 * may be given several times */
    const char *choices[2];     /* or one of two words: its index; 0 if it is not given. 0 and 1
                                 * are other words for false and true; "" is no word */
};
extern const struct api_param api_no_params[];

struct api_call {
    struct request_ctx *ctx;
    const struct http_request *req;
    struct http_response *res;
    struct api_service *api;
    struct sessions *sessions;
    struct sv id, sub_id; /* from the path; in canonical form if the route checks them */
    struct session_message_name message;      /* of a route that names one */
    int64_t params[API_PARAMS_MAX];           /* in the order of the route's list */
    struct session_precondition precondition; /* of a read: the user alone */
    struct http_condition match, unless;      /* If-Match, If-None-Match */
    struct json_doc doc;                      /* of the body */
    struct json_input body;                   /* the object that the body is */
    struct session session;                   /* of the answer; the handler fills it */
    bool with_user_state;                     /* of the answer: ?with=user_state */
    struct session user_state;                /* version 0: none */
    struct session_receipt receipt;           /* of a write; the handler fills it */
    struct session_target target; /* of a write on a session: id, precondition, receipt */
};

typedef enum err api_handler(struct api_call *c);
struct api_route {
    struct http_route http; /* its handler is api_run */
    struct api_route_spec {
        api_handler *handler;
        unsigned takes; /* of enum api_takes and enum api_body_kind */
        /* All query parameters that are allowed; NULL: the query is ignored. */
        const struct api_param *params;
    } spec;
};
http_handler api_run;
api_handler api_session_delete;     /* 204 */
api_handler api_readyz, api_status; /* status.c */
api_handler api_status_page;        /* docs.c */

/* The HTTP interfaces that api_dispatch chooses from by path. */
enum { API_PREFIXES_MAX = 5 };
struct api_interface {
    struct http_table table; /* routes, and the form of an error */
    /* What its paths begin with, in whole segments. The native interface has none, because it
     * serves all other paths. */
    const char *prefixes[API_PREFIXES_MAX + 1];
    bool open; /* no route needs an API key: none shows anything of a tenant */
};
extern const struct api_interface docs_interface, openai_interface, langgraph_interface,
    native_interface;

/* Checks an id and brings it into canonical form; an absent one stays absent. name: what an
 * interface calls it, also in the ERR_INVALID of a malformed one. */
MUSTCHECK enum err api_session_id(struct request_ctx *ctx, const char *name, struct sv *id);

/* ---- body.c: each failure names the field at fault ---- */

/* The containers of a body that handlers read. They store or refuse all other values as a whole. */
extern const struct json_shape api_body_shape[];
MUSTCHECK enum err api_body(struct request_ctx *ctx, const struct http_request *req,
                            enum api_body_kind kind, struct json_doc *out);
/* ERR_INVALID for a field of the object. why follows its name and ends the sentence. */
enum err api_fail_field(const struct json_input *in, const char *slug, const char *field,
                        const char *why);
#define api_bad_field(in, field, why) api_fail_field(in, "invalid_field", field, why)
#define api_missing_field(in, field)  api_fail_field(in, "missing_field", field, "is missing.")
/* Finds a word in a closed list. ERR_INVALID with slug names the field and lists the choices. */
MUSTCHECK enum err api_choice(struct request_ctx *ctx, const char *slug, const char *field,
                              const struct names *choices, struct sv word, size_t *index);
typedef enum err api_draft_reader(const struct json_input *in, struct session_message *out);
/* node: one message, or an array of them, at path. *out is in the arena. */
MUSTCHECK enum err api_read_drafts(const struct json_input *body, const struct json_node *node,
                                   const char *path, api_draft_reader *read,
                                   const struct session_message **out, size_t *n);
enum { API_NAME_MAX = 64 };
/* A message's type. */
MUSTCHECK enum err api_check_name(const struct json_input *in, const char *field, struct sv name);
/* The same for its role. With PARLEY_ROLES=known one that OpenAI's and LangChain's messages do not
 * have is refused. */
MUSTCHECK enum err api_check_role(const struct json_input *in, struct sv role);
/* JSON text: a string or parts; absent: it was not given. In a message with a member that OpenAI's
 * chat format allows in its place, such as tool_calls, an absent content becomes null. */
MUSTCHECK enum err api_check_content(const struct json_input *in, struct sv *content);
/* Checks a message's id and brings it into canonical form; an absent one stays absent. */
MUSTCHECK enum err api_message_id(const struct json_input *in, const char *field, struct sv *id);
#define API_TTL_MAX INT64_C(3153600000) /* seconds: 100 years */

/* ---- cors.c ---- */

/* Adds the headers with which a browser shows the answer to pages of PARLEY_CORS_ORIGINS. A
 * preflight request for an unknown path succeeds, too. */
void api_cors(const struct api_service *api, const struct http_request *req,
              struct http_response *res);

/* ---- reply.c ---- */

/* Begin a JSON answer: status, content type and a writer; the second one also opens an object. */
struct json_writer api_begin(struct http_response *res, int status);
struct json_writer api_begin_object(struct http_response *res, int status);
/* Sets the ETag, and status 304 if If-None-Match holds that tag: the handler then writes no body. A
 * degraded answer gets X-Parley-Degraded in place of the tag, because its bytes differ. */
MUSTCHECK enum err api_set_etag(struct api_call *c, bool degraded, struct sv tag);
/* Set the tag of c->session, of a kind that http_etag has; and that of what c->receipt made. */
MUSTCHECK enum err api_set_etag_session(struct api_call *c, char kind);
MUSTCHECK enum err api_set_etag_receipt(struct api_call *c);
/* A sentence of the session module with another name for one of its words, in the arena. */
const char *api_renamed(struct request_ctx *ctx, const char *detail, const char *word,
                        const char *name);
void api_mark_degraded(struct http_response *res);
void api_write_degraded(struct json_writer *j, bool degraded); /* nothing if it is not */
