/*
 * The session service: the only place that knows what a session is. Handlers call it; it calls the
 * caches and PostgreSQL. PostgreSQL is the only source of truth, and says whether a cached value is
 * current (src/session/freshness.c).
 *
 * struct sessions has no state but its database, its cache and its settings. Any thread may call
 * any function at any time. Results live in ctx->arena. ctx->err describes a failure. While
 * PostgreSQL is known to be away, a write fails with ERR_UNAVAILABLE and has no effect.
 *
 * The caller checks the length and alphabet of strings where the interface limits them
 * (id_valid and the like). users.h has what few callers use.
 */
#pragma once

#include "parley/cache/cache.h"
#include "parley/db/db.h"
#include "parley/db/hosts.h"
#include "parley/session/model.h"

struct sessions;

struct sessions_settings {
    int64_t ttl_seconds;      /* of a session that names none */
    int64_t state_bytes;      /* largest context, and largest metadata, that a patch may leave */
    int64_t user_state_bytes; /* largest state of a user */
    int64_t messages_max;     /* most messages of a session; 0: any number */
    int64_t page_bytes;       /* most bytes of content and metadata in one answer */
    int64_t sweep_s;          /* pause between two passes of the sweeper; 0: no sweeper */
    int statement_ms;         /* time-out of one statement of the sweeper */
    int64_t cache_seconds;    /* no cache keeps a session longer */
    int64_t store_ms;         /* no cache is given a session later than this after it was read */
    bool search;              /* messages can be searched, and their index is kept up to date */
    const struct db_hosts_shared *hosts; /* borrowed; NULL: other hosts are not known */
};

/* db and cache must outlive it. cache NULL: the caller reads and writes no session by its id. slot
 * may be NULL. NULL: no memory or no thread. */
struct sessions *sessions_open(const struct sessions_settings *settings, struct db *db,
                               struct cache *cache, struct metrics_slot *slot);
void sessions_close(struct sessions *s); /* ends the sweeper; NULL is fine */

/* ---- reads ---- */

/* The session with its newest n messages (0 to SESSION_THREAD_MAX; fewer where page_bytes is
 * reached). ERR_NOT_FOUND: absent, expired, or another user's. While PostgreSQL is away: what a
 * cache has, marked as degraded, else ERR_UNAVAILABLE. */
MUSTCHECK enum err session_get(struct sessions *s, struct request_ctx *ctx, struct sv id,
                               struct sv user, size_t n, struct session *out);
struct session_page_query {
    int64_t after, before; /* exclusive bounds of seq; 0: none */
    size_t limit;          /* 1 to SESSION_THREAD_MAX */
    bool ascending;
    int64_t max_bytes; /* 0: page_bytes. The first message comes even if it alone exceeds it */
    bool is_recent;    /* before was the end of the session just now: a cache may have the page */
};
struct session_page {
    struct session_message *messages; /* in the order asked for */
    size_t n;
    bool has_more, degraded; /* degraded: as in struct session */
    bool over_budget;        /* its one message alone exceeds max_bytes */
    struct cache_stamp stamp;
};
MUSTCHECK enum err session_page(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                struct sv user, const struct session_page_query *query,
                                struct session_page *out);
MUSTCHECK enum err session_message_get(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                       struct sv user, struct session_message_name which,
                                       struct session_message *out);

/* ---- reading ahead ---- */

/* A thread that has several reads to answer, each with a context of its own, asks PostgreSQL for
 * all their stamps in one round trip. A later read in such a context finds its stamp there. Without
 * one it asks by itself. */
enum { SESSION_AHEAD_MAX = 16 };
struct session_ahead;
/* Whether it is of use now: memory has sessions, and PostgreSQL must be asked. */
bool session_ahead_is_useful(const struct sessions *s);
/* Whether the read of this context was read ahead. */
bool session_ahead_is_done(const struct request_ctx *ctx);
/* Lives in the context's arena; the context refers to it. id is borrowed. NULL: no memory. */
struct session_ahead *session_ahead_new(struct request_ctx *ctx, struct sv id);
/* The results live in shared, which must be reset after the arenas of all contexts. */
void session_ahead_read(struct sessions *s, struct arena *shared,
                        struct session_ahead *const *ahead, size_t n);

/* ---- writes ---- */

/* A new session with its first messages: both or neither. out has all of them, as they were sent.
 * ERR_CONFLICT: the id is taken. */
MUSTCHECK enum err session_create(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_draft *draft,
                                  const struct session_precondition *precondition,
                                  struct session *out, struct session_receipt *receipt);
/* Gets the session with its newest SESSION_NEWEST messages, or makes it as session_create does,
 * atomically. receipt->created: it was made. */
MUSTCHECK enum err session_get_or_create(struct sessions *s, struct request_ctx *ctx,
                                         const struct session_draft *draft,
                                         const struct session_precondition *precondition,
                                         struct session *out, struct session_receipt *receipt);
/* out has no messages. ERR_PRECONDITION: If-Match. */
MUSTCHECK enum err session_patch(struct sessions *s, struct request_ctx *ctx,
                                 const struct session_target *target,
                                 const struct session_patch *patch, struct session *out);
MUSTCHECK enum err session_delete(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_target *target);
/* out has no messages; NULL: not wanted. */
MUSTCHECK enum err session_message_delete(struct sessions *s, struct request_ctx *ctx,
                                          const struct session_target *target,
                                          struct session_message_name which, struct session *out);
/* Stores a summary of all messages up to summary->seq; summary also has its content and tokens. It
 * replaces the one with the same seq. NULL: removes the current summary, and the one before it
 * becomes current. ERR_CONFLICT: the current one ends later, or this one would part a call from its
 * result. ERR_INVALID: the session has no such message. ERR_NOT_FOUND also: it has no summary. */
MUSTCHECK enum err session_summary_change(struct sessions *s, struct request_ctx *ctx,
                                          const struct session_target *target,
                                          const struct session_message *summary);
/* patch: a merge patch of content, metadata, extra and tokens as JSON text; absent: no change.
 * *message: the patched message as JSON text, without its edited_at, which is receipt->at.
 * ERR_INVALID: the patched message would not be valid. */
MUSTCHECK enum err session_message_patch(struct sessions *s, struct request_ctx *ctx,
                                         const struct session_target *target,
                                         struct session_message_name which,
                                         const struct session_message *patch, struct sv *message);
/* Removes the messages after a seq; receipt->first_seq says how many. ERR_TOO_MANY: more than
 * SESSION_TRUNCATE_MAX. */
MUSTCHECK enum err session_truncate(struct sessions *s, struct request_ctx *ctx,
                                    const struct session_target *target, int64_t after);
/* Copies a session under another id, with its state, messages and summaries, which keep seq and id.
 * The copy's time to live begins now. out has its newest SESSION_NEWEST messages; a replay has
 * none. ERR_CONFLICT: the id is taken. ERR_INVALID: no message has last_seq or a higher one.
 * ERR_TIMEOUT: there is more than a statement can copy in its time. */
MUSTCHECK enum err session_copy(struct sessions *s, struct request_ctx *ctx,
                                const struct session_target *target,
                                const struct session_fork *fork, struct session *out);

/* Appends all or none. ERR_CONFLICT: a message_id is taken in this session. */
MUSTCHECK enum err session_append(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_target *target,
                                  const struct session_append *append);
/* All of it or nothing. A message that replaces another keeps its seq, time and metadata. *at: the
 * index of the message at fault, or SESSION_MESSAGES_MAX. ERR_INVALID: it should be removed and is
 * not there. ERR_CONFLICT: its id will be made for a later message. */
MUSTCHECK enum err session_update(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_target *target,
                                  const struct session_update *update, size_t *at);
