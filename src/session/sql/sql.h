/* SPDX-License-Identifier: MIT */
/*
 * The SQL of the session service: each function is one round trip. What a write is, from the
 * request to its answer, is described by struct session_write. Only session/ includes this.
 */
#ifndef PARLEY_SESSION_SQL_H
#define PARLEY_SESSION_SQL_H

#include "parley/base/thread.h"
#include "parley/db/batch.h"
#include "parley/session/ahead.h"
#include "parley/session/search.h"
#include "parley/session/update.h"

struct sessions {
    struct sessions_settings settings;
    struct db *db;              /* borrowed */
    struct cache *cache;        /* borrowed; may be NULL */
    struct metrics_slot *slot;  /* borrowed; may be NULL */
    struct thread_loop sweeper; /* if settings.sweep_s > 0 */
};

/* Reads a session and its newest limit messages in one snapshot. ERR_NOT_FOUND without words. */
MUSTCHECK enum err sql_session_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                    struct sv user, size_t limit, struct session *out);
/* sql_read.c. The current stamp and owner of a live session. ERR_NOT_FOUND without words. */
struct sql_stamp {
    struct cache_stamp stamp;
    struct sv user_id; /* may be absent */
};
MUSTCHECK enum err sql_stamp_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  struct sql_stamp *out);
/* The same for several requests in one round trip. The answers live in ctx->arena. */
struct sql_stamp_question {
    struct sv tenant, id;
    bool done;  /* out: the rest is the answer; false: its owner has to ask alone */
    bool found; /* out: there is such a session */
    struct sql_stamp answer;
};
void sql_stamps_read(struct sessions *s, struct request_ctx *ctx,
                     struct sql_stamp_question *const *questions, size_t n);
/* Their statements, whose plans a test reads. */
extern const struct db_stmt sql_stamp_stmt;
extern const struct db_batch_kind sql_stamps_kind;

/* A message is named by its seq, by the id made from (generation, seq), or by its client's id. */
struct message_name {
    int64_t seq;        /* 0: named by id alone */
    int64_t generation; /* 0: any */
    struct sv id;       /* absent: named by seq */
};

struct session_write;
/* One try of a write. It sets w->receipt if it is done. */
typedef enum err session_write_fn(struct sessions *s, struct request_ctx *ctx,
                                  struct session_write *w);
/* The same for a session that was read: it is done only if generation, state_version and state_mark
 * still are those of base. */
typedef enum err session_change_fn(struct sessions *s, struct request_ctx *ctx,
                                   struct session_write *w, const struct session *base);

/* A write of one session, from the request to its answer. */
struct session_write {
    struct sv id;
    const struct session_precondition *precondition;
    struct session_receipt *receipt;
    /* What is to be done: one of these. */
    const struct session_draft *draft;
    const struct session_append *append;
    const struct session_patch *patch;
    const struct session_update *update;
    struct message_name message; /* to be deleted */
    struct sv from;              /* the session to copy */
    session_change_fn *change;   /* for session_change_state */
    bool id_is_new;              /* it was made for this session, so that none can have it */
    /* What came of it. */
    bool done;           /* false: no row met the conditions, and nothing was stored */
    bool found;          /* a session was there, whoever made it; or the one to copy */
    size_t fault;        /* 1 + the index of the message that session_update is to name; else 0 */
    struct session *out; /* the session, where the write reads it too */
    struct sv state;     /* what an idempotency key remembers of it; absent without a key */
};

MUSTCHECK enum err sql_session_insert(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w);
MUSTCHECK enum err sql_session_delete(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w);
MUSTCHECK enum err sql_message_delete(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w);
/* Inserts if the id is free, then reads whatever session has the id. Leaves the receipt alone. */
MUSTCHECK enum err sql_session_ensure(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w);
/* Sets w->found if the session to copy is there and the conditions hold. If w->found is set but not
 * w->done, a message's id names the new generation: try again with another. */
MUSTCHECK enum err sql_session_copy(struct sessions *s, struct request_ctx *ctx,
                                    struct session_write *w);
/* Makes the session first when append->create is set and the id is free. */
MUSTCHECK enum err sql_message_append(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w);
/* Stores the state of w->out. */
MUSTCHECK enum err sql_session_update(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w, const struct session *base);
/* sql_update.c. Applies w->update's messages and stores context with them (absent:
 * unchanged). With base it is done only if the state still is base's; NULL: any state. */
MUSTCHECK enum err sql_session_edit(struct sessions *s, struct request_ctx *ctx,
                                    struct session_write *w, const struct session *base,
                                    struct sv context);

/* ERR_NOT_FOUND without words. */
MUSTCHECK enum err sql_message_page(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                    struct sv user, const struct session_page_query *query,
                                    struct session_page *out);

MUSTCHECK enum err sql_message_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                    struct sv user, const struct message_name *name,
                                    struct session_message *out);

/* What is stored under a key. found: whether it is; matches: whether by the same request. state:
 * as in struct session_write. A key older than 24 h is deleted and not found. */
struct idempotency_record {
    bool found, matches;
    struct session_receipt receipt;
    struct sv state;
};
MUSTCHECK enum err sql_key_read(struct sessions *s, struct request_ctx *ctx,
                                const struct session_precondition *precondition,
                                struct idempotency_record *out);

/* sql_search.c */
MUSTCHECK enum err sql_search(struct sessions *s, struct request_ctx *ctx,
                              const struct session_query *q, struct session_list *out);
MUSTCHECK enum err sql_count(struct sessions *s, struct request_ctx *ctx,
                             const struct session_query *q, int64_t *n);

/* sql_sweep.c. Deletes some of what is expired, across tenants; *more: there may be more. */
MUSTCHECK enum err sql_sweep(struct sessions *s, struct request_ctx *ctx, bool *more);
/* Deletes messages, keys and, where nothing of them is left, sessions of rows[*at] and as many rows
 * behind it as are one step, at most PURGE_STEP messages; *at moves behind them. The rows have
 * tenant, generation and message_count; ctx gets their tenant. erased: all keys of theirs go, too.
 * What is live, or locked by somebody who deletes it too, is passed by. */
enum { PURGE_STEP = 1000 };
struct purged {
    int64_t sessions, messages, keys; /* keys: by others than sql_purge */
};
MUSTCHECK enum err sql_purge(struct sessions *s, struct request_ctx *ctx,
                             const struct db_rows *rows, bool erased, int *at, struct purged *done);

/* sql_user.c. Live sessions of a user behind a place, newest first without context, or
 * oldest first with it. */
MUSTCHECK enum err sql_user_list(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                 const struct session_position *behind, bool oldest_first,
                                 size_t limit, struct session_list *out);
/* Sessions of a user behind a place that an erasure has yet to hide: only session_id, generation
 * and created_at are set. */
MUSTCHECK enum err sql_user_to_erase(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                     const struct session_position *behind, size_t limit,
                                     struct session_list *out);
/* Hides those of the list that still are the user's. waits: for rows that others have locked,
 * instead of passing them by; ERR_BUSY then after a second. */
MUSTCHECK enum err sql_user_tombstone(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                      const struct session_list *list, bool waits, int64_t *hidden);
/* Hidden sessions of a user, as rows for sql_purge. */
MUSTCHECK enum err sql_user_tombstones(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                       struct db_rows *out);
/* Deletes what is remembered of the user under idempotency keys and goes with no session of theirs,
 * a step of it; what others have locked is passed by. *none: there was nothing. */
MUSTCHECK enum err sql_user_keys_delete(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                        bool *none, int64_t *deleted);
MUSTCHECK enum err sql_user_is_left(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                    bool *left);

/* sql_common.c's helpers for the other repository files. */

/* A session, all but its session_id and messages, from row i. */
void sql_session_from_row(const struct db_rows *rows, int i, struct session *out);
/* The sessions of all rows with their session_id. has_more is left to the caller. */
MUSTCHECK enum err sql_sessions_from_rows(struct request_ctx *ctx, const struct db_rows *rows,
                                          struct session_list *out);

/* $1 to $7 of every write: tenant, id, user, If-Match, key, fingerprint, mark. */
enum { SQL_PRECONDITION_PARAMS = 7 };
MUSTCHECK enum err sql_precondition_params(struct request_ctx *ctx, struct sv id,
                                           const struct session_precondition *precondition,
                                           struct db_param *out);
/* Puts the call that keeps the tenant's bound on open sessions into *call, to go ahead of what may
 * create the session; its parameters into params. Gives how many calls that is: 0 without a bound.
 */
enum { SQL_ADMIT_PARAMS = 4 };
size_t sql_admit(const struct request_ctx *ctx, const struct session_write *w,
                 struct db_param params[SQL_ADMIT_PARAMS], struct db_call *call);
/* A write's mark: 64 random bits. */
struct db_param sql_mark(void);
/* The generation of a new session with these messages: milliseconds of PostgreSQL's clock, and
 * random bits. */
struct db_param sql_generation(const struct sessions *s,
                               const struct session_message_draft *messages, size_t n);
struct sql_creation {
    struct db_param *generation; /* among the parameters of a call */
    const struct session_message_draft *messages;
    size_t n;
};
/* db_batch for a write; its failures have words for the client. making: NULL if no
 * call makes a session. Tries once more with another generation if that is taken. If the call of
 * sql_admit asks for a count of the tenant's open sessions, counts them and tries again. */
MUSTCHECK enum err sql_write(struct sessions *s, struct request_ctx *ctx, struct db_call *calls,
                             size_t n, const struct sql_creation *making);
/* Sets w->done, and if it is true the receipt, from the write's row. appended: how many messages
 * the write added at the end. */
void sql_change_from_rows(struct session_write *w, const struct db_rows *rows, int status,
                          size_t appended);
/* Numbers and times of a session as a write left it. Not its last_seq. */
void sql_apply_receipt(struct session *s, const struct session_receipt *receipt);
/* Numbers and times of a session as row i has them; not mark_before, and not what was appended. */
void sql_receipt_from_row(const struct db_rows *rows, int i, struct session_receipt *out);
/* Messages of rows from their "seq" column on, in the order of the rows or reversed; rows whose
 * seq is NULL are none. */
MUSTCHECK enum err sql_messages_from_rows(struct request_ctx *ctx, const struct db_rows *rows,
                                          int64_t generation, bool reversed,
                                          struct session_message **out, size_t *n);

/* Arrays of a list of drafts: types, roles, contents, metadata, ids, extra ($n to $n+5).
 */
enum { SQL_MESSAGE_PARAMS = 6 };
MUSTCHECK enum err sql_message_arrays(struct request_ctx *ctx,
                                      const struct session_message_draft *messages, size_t n,
                                      struct db_param *out);
/* A message with nothing but role and content: what else a row has is what its columns have by
 * default. */
bool sql_message_is_plain(const struct session_message_draft *m);
/* The size of such a message, as SQL_STORED_SIZE counts it. */
struct db_param sql_message_plain_size(const struct session_message_draft *m);
/* The generations that client-given ids of the made form name: a session of one of them may not
 * take such an id, or two of its messages could have one id. */
MUSTCHECK enum err sql_reserved_generations(struct request_ctx *ctx,
                                            const struct session_message_draft *messages, size_t n,
                                            struct db_param *out);

#endif
