/* SPDX-License-Identifier: MIT */
/* What the files of session/ share; no other folder includes it. */
#pragma once

#include "parley/session/window.h"
#include "session/sql/sql.h"

/* ---- session.c ---- */

bool session_is_expired(const struct session *s, int64_t now_us);
/* Whether the session is the user's; true if user is absent. */
bool session_user_matches(const struct session *session, struct sv user);
enum err session_being_deleted(struct request_ctx *ctx); /* ERR_BUSY */
/* Whether a later read returns metadata as it was sent. It has jsonb's form, which only PostgreSQL
 * knows; {} is the same in both. One entity tag must have one form, so that other metadata is not
 * cached by a write. */
bool session_is_read_as_sent(struct sv metadata, const struct session_message *messages, size_t n);

/* ---- tool_calls.c: which messages belong together ---- */

struct tool_message {
    size_t parent; /* of its group: see tool_group */
    size_t behind; /* the message before the run of results that it is in, or follows;
                    * SIZE_MAX: there is none */
    unsigned role; /* enum session_roles */
    bool has_call, has_nameless_call;
    bool has_result, has_nameless_result;
    bool has_late_result; /* after another part of its content, where no model accepts it */
    bool is_result;       /* it has nothing but results */
    bool is_item, is_call_item, is_reasoning;
    bool is_assistant;  /* it may follow a reasoning item */
    bool is_orphan;     /* it has a result whose call is not among these messages */
    bool is_unanswered; /* it has a call whose result is not among them */
    bool is_unfit;      /* no model accepts it */
};
/* A call or a result with an id. */
struct tool_event {
    struct sv id;
    size_t at;        /* its message */
    const void *kind; /* of an item: the same of calls and their outputs; NULL: no item */
    bool is_result;
    bool is_open; /* a call without a result */
};
struct tool_links {
    struct tool_message *m;    /* one for each message */
    struct tool_event *events; /* in the order of the session */
    size_t n_events;
};
/* In the arena. Takes n log n steps. */
MUSTCHECK enum err tool_links_read(struct request_ctx *ctx, const struct session_message *messages,
                                   size_t n, struct tool_links *out);
/* Of enum session_roles; 0: another role, or none. */
unsigned tool_role_named(struct sv name);
/* The message that stands for all that belong together with this one. */
size_t tool_group(struct tool_message *m, size_t at);

/* ---- window.c: which messages of a session's end are its window ---- */

enum window_result {
    WINDOW_CHOSEN,
    WINDOW_NEEDS_MORE, /* a longer tail may change the choice */
    WINDOW_TOO_SMALL,  /* the budgets: *needed is set */
    WINDOW_NONE        /* no model accepts any of the messages */
};
/* Where a summary may end that should end before messages[at]. *safe: the index nearest to at such
 * that an end before it parts no call from its result; 0: there is none. is_first, is_last: the
 * session has no messages before these, after these. */
MUSTCHECK enum err window_boundary(struct request_ctx *ctx, struct session_message *messages,
                                   size_t n, bool is_first, bool is_last, size_t at, size_t *safe);
/* is_last: no longer tail will be read, so this one counts as the whole session. Fails only with
 * ERR_NOMEM. */
MUSTCHECK enum err window_choose(struct request_ctx *ctx, const struct window_tail *tail,
                                 const struct session_window_query *query, bool is_last,
                                 struct session_window *out, struct session_cost *needed,
                                 enum window_result *result);

/* ---- codec.c: a session as bytes for the caches ---- */

/* With its newest SESSION_NEWEST messages. */
MUSTCHECK enum err session_codec_encode(struct request_ctx *ctx, const struct session *session,
                                        struct sv *out);
/* False: bytes is not a whole session. Borrows from bytes. */
bool session_codec_decode(struct request_ctx *ctx, struct sv bytes, struct session *out);

/* ---- freshness.c: reads and writes with the caches ---- */

struct cache_stamp session_stamp(const struct session *session);
/* The session with at least its newest n messages (all of them if it has fewer), as it is now.
 * out->degraded: PostgreSQL is away, and the session may have changed since. */
MUSTCHECK enum err fresh_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                              struct sv user, size_t n, struct session *out);

/* sql_reachable for a write: ERR_UNAVAILABLE also until other hosts know of this one. */
MUSTCHECK enum err fresh_writable(struct sessions *s, struct request_ctx *ctx);
/* Requests of one id (a session's; in an erasure the user's) may wait for the same locked rows.
 * They leave connections to others: see contention_key. fresh_write_begin calls it. */
void fresh_contend(struct request_ctx *ctx, struct sv id);
/* A write calls fresh_write_begin before its statement and, whatever the outcome, fresh_write_end
 * after it. If the begin fails, the write has failed without effect, and needs no end. */
struct fresh_write {
    struct cache_key key;
    struct cache_snapshot snapshot;
    /* An append leaves Redis alone: a SET or DEL for each would cost more than it saves. The next
     * read that misses in memory finds that Redis has an old value, and replaces it. */
    bool appends;
};
MUSTCHECK enum err fresh_write_begin(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                     struct fresh_write *w);
/* result: of the statement. now: the session after the write; NULL: the writer does not know it. */
void fresh_write_end(struct sessions *s, struct request_ctx *ctx, struct fresh_write *w,
                     enum err result, const struct session *now);
/* The session in memory plus what was appended. False: memory has none, or its stamp is not that of
 * the row directly before the write. */
bool fresh_after_append(struct sessions *s, struct request_ctx *ctx, const struct fresh_write *w,
                        const struct session_append *append, const struct session_receipt *receipt,
                        struct session *out);

/* ---- idempotency.c ---- */

/* A write on a target. The further arguments say what it does. */
#define SESSION_WRITE(target, ...)                                  \
    ((struct session_write){.id = (target)->id,                     \
                            .precondition = (target)->precondition, \
                            .receipt = (target)->receipt,           \
                            __VA_ARGS__})
/* Runs a write that has its effect once under its key. ERR_NONE: it was done, now or (replayed is
 * set) by an earlier request. Bare ERR_NOT_FOUND: no row met its conditions. */
MUSTCHECK enum err session_write_idempotent(struct sessions *s, struct request_ctx *ctx,
                                            struct session_write *w, session_write_fn *try);
/* The same within fresh_write_begin and fresh_write_end, for a write that does not know the session
 * after it. ERR_NOT_FOUND is bare only with w->fault; else see session_write_refused. */
MUSTCHECK enum err session_write_uncached(struct sessions *s, struct request_ctx *ctx,
                                          struct session_write *w, session_write_fn *try);
/* The session as it was after a write that is done: w->state and w->receipt, without messages.
 * Reads it as it is now if there is no state. */
MUSTCHECK enum err session_of_record(struct sessions *s, struct request_ctx *ctx,
                                     const struct session_write *w, struct session *out);
/* ---- session_patch.c ---- */

/* A write by w->change. If w->done stays unset, the session is not there, a condition of the change
 * does not hold, or w->fault says why it was not tried. */
session_write_fn session_change_state;

/* Why no row met the conditions of a write on an existing session: ERR_PRECONDITION if it is there
 * and If-Match was given, else ERR_NOT_FOUND. Sets ctx->err. */
enum err session_write_refused(struct sessions *s, struct request_ctx *ctx,
                               const struct session_write *w);
