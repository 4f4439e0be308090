/* SPDX-License-Identifier: MIT */
/* What the files of session/ share; nobody else includes it. */
#ifndef PARLEY_SESSION_INTERNAL_H
#define PARLEY_SESSION_INTERNAL_H

#include "session/sql/sql.h"

/* ---- codec.c: a session as bytes for the tiers ---- */

/* Of at most SESSION_WINDOW messages. */
MUSTCHECK enum err codec_encode(struct request_ctx *ctx, const struct session *session,
                                struct sv *out);
/* False for bytes that are not a whole session. Borrows from bytes. */
bool codec_decode(struct request_ctx *ctx, struct sv bytes, struct session *out);

/* ---- freshness.c: reads and writes with the caches ---- */

/* The session with at least its newest n messages (all of them if it has fewer), as it is now.
 * out->degraded: PostgreSQL is away, and the session may have changed since. */
MUSTCHECK enum err fresh_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                              struct sv user, size_t n, struct session *out);

/* ERR_UNAVAILABLE while PostgreSQL is known to be away: before anything is done that needs it, so
 * that nobody waits for it in a thread that others could use. */
MUSTCHECK enum err fresh_reachable(struct sessions *s, struct request_ctx *ctx);
/* The same for a write: ERR_UNAVAILABLE also until other hosts know of this one. */
MUSTCHECK enum err fresh_writable(struct sessions *s, struct request_ctx *ctx);
/* A write calls fresh_write_begin before its statement, and fresh_write_end after it whatever its
 * outcome. A begin that fails has the error of a write that did nothing, and needs no end. */
struct fresh_write {
    struct cache_key key;
    struct cache_snapshot snapshot;
    /* Redis is left alone: a SET or DEL for each append costs more than it saves. The next read of
     * the session that misses in memory finds that what Redis holds is not current. */
    bool appends;
};
MUSTCHECK enum err fresh_write_begin(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                     struct fresh_write *w);
/* result: of the statement. now: the session after the write if the writer knows it, else NULL. */
void fresh_write_end(struct sessions *s, struct request_ctx *ctx, struct fresh_write *w,
                     enum err result, const struct session *now);
/* The session that memory holds, with the receipt and the drafts added. False unless its stamp is
 * that of the row directly before the write. */
bool fresh_after_append(struct sessions *s, struct request_ctx *ctx, const struct fresh_write *w,
                        const struct session_append *append, const struct session_receipt *receipt,
                        struct session *out);

/* ---- replay.c ---- */

/* Runs a write that has its effect once under its key. ERR_NONE: it was done, now or (replayed set)
 * by an earlier request. ERR_NOT_FOUND, without words: no row met its conditions. */
MUSTCHECK enum err write_idempotent(struct sessions *s, struct request_ctx *ctx,
                                    struct session_write *w, session_write_fn *try);
/* The same with the caches, for a write that does not give them the new session. */
MUSTCHECK enum err session_write_uncached(struct sessions *s, struct request_ctx *ctx,
                                          struct session_write *w, session_write_fn *try);
/* Why no row met the conditions of a write on an existing session: ERR_PRECONDITION if it is there
 * and If-Match was given, else ERR_NOT_FOUND, with words. */
enum err session_write_refused(struct sessions *s, struct request_ctx *ctx,
                               const struct session_write *w);

/* ---- session_patch.c ---- */

/* Reads the session and calls w->change; repeats both if another request changed the state in
 * between. Not done: the session is not there, or a condition of the change does not hold. */
MUSTCHECK enum err session_change_state(struct sessions *s, struct request_ctx *ctx,
                                        struct session_write *w);
/* Changes a context or metadata (name), within state_bytes. patch: absent, nothing; null, the
 * default, which is what is left when a whole object is removed. */
MUSTCHECK enum err session_patch_member(const struct sessions *s, struct request_ctx *ctx,
                                        const char *name, struct sv *value, struct sv patch,
                                        enum session_patch_how how);

/* ---- sweeper.c ---- */

void *sweeper_main(void *sessions); /* of the thread */

/* ---- session.c ---- */

/* Whether this host is alone on its database, and memory may answer without asking. */
bool sessions_is_alone(const struct sessions *s);

/* ERR_NOT_FOUND in the one form that absent, expired and foreign sessions share. */
enum err session_not_found(struct request_ctx *ctx);
enum err session_being_deleted(struct request_ctx *ctx); /* ERR_BUSY */
/* ERR_UNAVAILABLE: PostgreSQL is away, and nothing was done. */
enum err session_database_away(struct request_ctx *ctx);
/* The messages that drafts became, numbered from first_seq on. */
MUSTCHECK enum err session_messages_of(struct request_ctx *ctx,
                                       const struct session_message_draft *drafts, size_t n,
                                       int64_t generation, int64_t first_seq, int64_t at,
                                       struct session_message *out);
/* True also when no user is asked for. */
bool session_user_matches(const struct session *session, struct sv user);

#endif
