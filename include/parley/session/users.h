/* Many sessions: those of a tenant or one user (listed, exported, erased), searches over them, and
 * what is remembered of a user. Thread rule and errors: session.h. */
#pragma once

#include "parley/session/session.h"

enum { SESSION_LIST_MAX = 100 };

/* The keyset position of a session: its place in the order of creation, which never changes. */
struct session_position {
    int64_t created_at, generation;
};
struct session_list {
    struct session *sessions; /* without messages, and without context (absent) */
    size_t n;
    bool has_more;
    struct session_position end; /* what was read, up to here; zero: nothing */
};
#define SESSION_ANY_TIME INT64_C(253402300800000000) /* year 10000: no session is created then */
struct session_list_query {
    struct sv user;                        /* absent: any */
    struct sv metadata;                    /* as in struct session_query */
    int64_t created_after, created_before; /* exclusive; any: 0 and SESSION_ANY_TIME */
    const struct session_position *after;  /* NULL: from the newest */
    size_t limit;                          /* 1 to SESSION_LIST_MAX */
};
/* The live sessions that match, newest first. Fewer than limit, or none, come with has_more if the
 * list reached page_bytes, or has read for as long or as many sessions as it may. */
MUSTCHECK enum err session_list(struct sessions *s, struct request_ctx *ctx,
                                const struct session_list_query *q, struct session_list *out);

/* What is remembered of a user, in the form of a session without an id: context is the state.
 * ttl_seconds 0: it does not expire, and expires_at means nothing. user absent: that of the owner
 * of the session of this generation. ERR_NOT_FOUND: there is none. */
MUSTCHECK enum err session_user_state_get(struct sessions *s, struct request_ctx *ctx,
                                          struct sv user, int64_t generation, struct session *out);
/* Makes one if there is none. Of patch only context and ttl_seconds (0: none) count; NULL: deletes
 * the state. out is set by a patch. */
MUSTCHECK enum err session_user_state_change(struct sessions *s, struct request_ctx *ctx,
                                             struct sv user, const struct session_patch *patch,
                                             const struct session_precondition *precondition,
                                             struct session *out, struct session_receipt *receipt);

/* An export: the states of users, and then the sessions, oldest first. Each call reads one state,
 * one session, or some messages of the last session. No connection is held between calls. The
 * export has each session that was live when it began and is still live when it is read, with its
 * messages at that moment. The caller sets user, which must outlive the export, and zeroes the
 * rest. */
struct session_export {
    struct sv user;             /* absent: all users, and sessions without a user */
    int64_t sessions, messages; /* given so far */
    /* Of the last session that was given. If it is set before the first call, the export has no
     * states, and only the sessions after this position. */
    struct session_position at;
    /* Internal: */
    bool begun, states_end;
    struct session_position until;
    char id[SESSION_ID_MAX]; /* of the last session, or of the last user with a state */
    size_t id_n;
    int64_t seq, last_seq; /* seq == last_seq: it has no more messages */
};
struct session_export_part {
    bool end;                /* the export is complete; nothing else is set */
    struct session *state;   /* of a user, as session_user_state_get gives it */
    struct session *session; /* without messages; NULL: messages of the last session */
    struct sv session_id;
    struct session_message *messages; /* in the order of seq */
    size_t n;                         /* may be 0 */
};
MUSTCHECK enum err session_export_next(struct sessions *s, struct request_ctx *ctx,
                                       struct session_export *x, struct session_export_part *out);

struct session_erasure {
    int64_t sessions; /* made tombstones, which nobody can read, and then deleted */
    int64_t messages; /* deleted by this call, not by the sweeper */
    int64_t keys;     /* idempotency records deleted that had outlived their sessions, and states */
    bool has_more;
    int64_t expire_by; /* 0: no cache has any of it; else when the last value has expired */
};
/* Deletes the state and all sessions of a user, expired ones and tombstones too, and all
 * idempotency records of the user, whoever owns the session now. Takes at most half of the
 * request's time. Tombstones stay: the next call or the sweeper goes on. ERR_OUTCOME_UNKNOWN: it
 * failed after a part was done. */
MUSTCHECK enum err session_erase_user(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                      struct session_erasure *out);

/* For an operator's command: db logs in as the owner of the tables. ctx->tenant is the tenant.
 * *left: whether it has rows of sessions, users' states or idempotency records. *live: whether it
 * has a session or a state that can be read. */
MUSTCHECK enum err session_tenant_inspect(struct sessions *s, struct request_ctx *ctx, bool *left,
                                          bool *live);
/* One step: deletes at most some hundred sessions, and skips what others have locked. *out counts
 * what all steps deleted. The tenant's keys must not be valid any more, and this process must be
 * registered as a host, since the memory of others is not cleared. */
MUSTCHECK enum err session_tenant_erase(struct sessions *s, struct request_ctx *ctx,
                                        struct session_erasure *out);

/* ---- searches ---- */

enum session_sort { SESSION_BY_CREATION, SESSION_BY_UPDATE, SESSION_BY_ID };

/* The live sessions that match every field given. A search by creation reads up to the last session
 * that it returns (all, if fewer than limit match). Any other sort, and a count, reads all sessions
 * of the tenant. */
struct session_query {
    struct sv user;              /* absent: any */
    struct sv metadata, context; /* JSON objects that these must contain, as jsonb's @> defines it;
                                  * absent: any */
    const struct sv *ids;        /* NULL: any */
    size_t n_ids;
    /* For session_search alone: */
    enum session_sort sort;
    bool ascending;
    size_t limit;
    int64_t offset;
    bool with_context, with_metadata; /* else they are absent in the result */
};
/* Without messages. ERR_TOO_LARGE: contexts and metadata together exceed page_bytes. */
MUSTCHECK enum err session_search(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_query *q, struct session_list *out);
MUSTCHECK enum err session_count(struct sessions *s, struct request_ctx *ctx,
                                 const struct session_query *q, int64_t *n);
