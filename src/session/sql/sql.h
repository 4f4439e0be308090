/* SPDX-License-Identifier: MIT */
/*
 * The SQL of the session service. Each function is one round trip. Only session/ includes this.
 *
 * sql_message.c, sql_search.c and sql_sweep.c also define functions of session.h and users.h. "Bare
 * ERR_NOT_FOUND" is the result without a description: ctx->err is not set, and the caller decides
 * what to say. struct session_write carries a write from the request to its answer.
 */
#pragma once

#include "parley/base/thread.h"
#include "parley/db/batcher.h"
#include "parley/session/users.h"

struct sessions {
    struct sessions_settings settings;
    struct db *db;             /* borrowed */
    struct cache *cache;       /* borrowed; see sessions_open */
    struct metrics_slot *slot; /* borrowed; may be NULL */
    struct db_batcher *appends, *creates;
    struct thread_loop sweeper, indexer;
    bool sweeps, indexes; /* their threads run */
};

/* ERR_UNAVAILABLE while PostgreSQL is known to be away. A call that needs PostgreSQL begins with
 * this, so that it does not occupy a thread while it waits. */
MUSTCHECK enum err sql_reachable(struct sessions *s, struct request_ctx *ctx);
/* The failure of sql_reachable; nothing was done. */
enum err sql_away(struct request_ctx *ctx);

/* In session.c. ERR_CONFLICT: the id of messages[at] is taken; at = n: it is not known which. */
enum err session_message_id_taken(struct request_ctx *ctx, const struct session_message *messages,
                                  size_t n, size_t at);
enum err session_message_not_found(struct request_ctx *ctx);
/* ERR_LIMITED: the session would have more messages than it may. */
enum err session_full(const struct sessions *s, struct request_ctx *ctx);
/* ERR_NOT_FOUND, with one text for absent, expired and foreign sessions. */
enum err session_not_found(struct request_ctx *ctx);

/* ---- a write ---- */

struct session_write;
/* One try of a write. It sets w->receipt if it is done. */
typedef enum err session_write_fn(struct sessions *s, struct request_ctx *ctx,
                                  struct session_write *w);
/* The same for a session that was read. It is done only if the session still has base's generation,
 * state_version and state_mark. */
typedef enum err session_change_fn(struct sessions *s, struct request_ctx *ctx,
                                   struct session_write *w, const struct session *base);

struct sql_drafts {
    const struct session_message *messages;
    size_t n;
};
struct session_write {
    struct sv id;
    const struct session_precondition *precondition;
    struct session_receipt *receipt;
    /* What to do: one of these. */
    const struct session_draft *draft;
    const struct session_append *append;
    struct sql_drafts drafts; /* the messages of a create or an append; a summary */
    const struct session_patch *patch;
    const struct session_update *update;
    const struct session_message *message_patch;
    struct session_message_name named; /* the message to patch */
    int64_t after;                     /* the last seq that a truncation keeps */
    struct sv from;                    /* the session to copy */
    const struct session_fork *fork;   /* how */
    session_change_fn *change;         /* in session_patch.c */
    bool id_is_new;                    /* made for this session, so that no other can have it */
    /* What came of it. */
    bool done;           /* false: no row met the conditions, and nothing was stored */
    bool found;          /* a session was there, whoever made it */
    bool key_expired;    /* its key had a record, which was too old and is deleted */
    size_t fault;        /* 1 + the index of the message at fault, or why a summary is refused */
    int64_t nearest;     /* the seq that a refusal inside a call names */
    struct session *out; /* the session, if the write reads it too */
    struct sv state;     /* the JSON text of a record: the state, or the patched message */
};

/* ---- sql_session.c, sql_update.c: sessions ---- */

/* A session and its newest limit messages, of one snapshot. Bare ERR_NOT_FOUND. */
MUSTCHECK enum err sql_session_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                    struct sv user, size_t limit, struct session *out);
struct sql_stamp {
    struct cache_stamp stamp;
    struct sv user_id; /* the owner; may be absent */
};
/* The current stamp and owner of a live session. A caller that has a cached value of that stamp
 * needs no more; sql_session_read costs PostgreSQL twice as much. Bare ERR_NOT_FOUND. */
MUSTCHECK enum err sql_stamp_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  struct sql_stamp *out);
void sql_stamp_from_row(const struct db_rows *rows, int row, struct sql_stamp *out);
struct cache_stamp sql_stamp_of_row(const struct db_rows *rows, int row);
/* The same for several requests; the key of each is the id. */
extern const struct db_stmt sql_stamps_stmt;
extern const struct db_stmt sql_stamp_stmt, sql_message_stmt; /* a test reads their plans */

/* Inserts if the id is free. With w->out, then reads the session that has the id. */
session_write_fn sql_session_insert MUSTCHECK;
session_write_fn sql_session_copy MUSTCHECK;
session_write_fn sql_session_delete MUSTCHECK;
session_write_fn sql_session_truncate MUSTCHECK;
session_change_fn sql_session_update MUSTCHECK; /* stores the state of w->out */
/* Applies w->update's messages and stores context with them (absent: no change). base: as for a
 * session_change_fn; NULL: whatever the state is. With w->out, which it leaves alone, it sets
 * w->state, which does not have the new context. */
MUSTCHECK enum err sql_session_edit(struct sessions *s, struct request_ctx *ctx,
                                    struct session_write *w, const struct session *base,
                                    struct sv context);
/* Stores the content, metadata, extra and tokens of m, and w->state for a replay. */
MUSTCHECK enum err sql_message_patch(struct sessions *s, struct request_ctx *ctx,
                                     struct session_write *w, const struct session *base,
                                     const struct session_message *m);
extern const struct db_stmt sql_message_patch_stmt; /* a test reads its plan */

/* Stores w->drafts, or without one removes the summary up to current. base: as for a
 * session_change_fn. */
MUSTCHECK enum err sql_summary_change(struct sessions *s, struct request_ctx *ctx,
                                      struct session_write *w, const struct session *base,
                                      int64_t current);

/* ---- sql_batch.c: writes of several requests in one statement ---- */

/* A member of a batch. */
struct sql_batch_member {
    struct db_member of_batch;
    struct session_write *w;
};
extern const struct db_batcher_kind sql_write_kind;
extern const struct db_stmt sql_append_batch_stmt, sql_append_plain_batch_stmt,
    sql_create_batch_stmt; /* a test reads their plans */
/* sql_session_insert or sql_message_append, in a batch if the write is fit for one. */
session_write_fn sql_write_batched MUSTCHECK;

/* ---- sql_message.c: messages ---- */

/* With append->create, makes the session first if the id is free. */
session_write_fn sql_message_append MUSTCHECK;
/* The most bytes of messages in the page, but for the first one. */
int64_t sql_page_budget(const struct sessions *s, const struct session_page_query *query);
/* Bare ERR_NOT_FOUND. Does not set over_budget. */
MUSTCHECK enum err sql_message_page(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                    struct sv user, const struct session_page_query *query,
                                    struct session_page *out);

/* ---- sql_window.c: the end of a session ---- */

/* The newest messages of a session after its summary, oldest first. */
struct window_tail {
    struct session_message *messages;
    size_t n;
    bool is_complete;                      /* there are no older ones */
    const struct session_message *summary; /* NULL: the session has none */
    /* Of the older messages, the newest system or developer message, also before the summary, and
     * the newest message of the user that comes after the summary and has no tool's result; NULL:
     * there is none. Only if is_looked_for. */
    bool is_looked_for;
    const struct session_message *system, *start;
    struct cache_stamp stamp;
};
/* In session.c: the message that windows have for a summary, from its JSON text (SQL_SUMMARY). Its
 * seq is that of the last message that the summary covers. */
MUSTCHECK enum err session_summary_message(struct request_ctx *ctx, struct sv text,
                                           struct session_message *out);
extern const struct db_stmt sql_window_stmt; /* a test reads its plan */
/* At most limit messages up to last_seq, and at most so many bytes, or one message more. */
MUSTCHECK enum err sql_window_tail(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                   struct sv user, int64_t last_seq, size_t limit, int64_t bytes,
                                   struct window_tail *out);

/* ---- sql_common.c: idempotency records ---- */

/* Takes receipt and state from the key's record. Bare ERR_NOT_FOUND: there is none. One that is
 * older than 24 h is deleted and not found. ERR_KEY_REUSED: it is of another request. */
session_write_fn sql_key_read MUSTCHECK;

/* ---- sql_sweep.c: deletion for good ---- */

/* Deletes some expired sessions and records of any tenant. *more: there may be more. */
MUSTCHECK enum err sql_sweep(struct sessions *s, struct request_ctx *ctx, bool *more);
enum { PURGE_STEP = 1000 };
/* Deletes messages, records and, where none of these is left, sessions: one step, from rows[*at]
 * on, of at most PURGE_STEP messages. *at moves to the row after it. The rows have tenant,
 * generation and message_count; ctx->tenant becomes theirs. erased: all records of these sessions
 * go, too, without being counted. Skips live sessions and those that another step has locked. */
MUSTCHECK enum err sql_purge(struct sessions *s, struct request_ctx *ctx,
                             const struct db_rows *rows, bool erased, int *at,
                             struct session_erasure *done);

/* ---- sql_user.c: the sessions of one user, lists ---- */

/* Live sessions: newest first without context; of one user also oldest first with context. */
MUSTCHECK enum err sql_list(struct sessions *s, struct request_ctx *ctx,
                            const struct session_list_query *q, bool oldest_first,
                            struct session_list *out);
enum { SQL_LIST_PARAMS = 10 };
extern const struct db_stmt sql_list_plan_stmt, sql_list_stmts[4]; /* a test reads their plans */
/* Sessions after a position that are no tombstones, as rows of own_id, generation, created_at. */
MUSTCHECK enum err sql_user_to_erase(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                     const struct session_position *after, size_t limit,
                                     struct db_rows *out);
/* Makes tombstones of those in the rows that still are the user's, and adds their number to *made.
 * waits: for rows that others have locked, at most a second, then ERR_BUSY; else skips these. */
MUSTCHECK enum err sql_user_tombstone(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                      const struct db_rows *rows, bool waits, int64_t *made);
/* Tombstones of a user, as rows for sql_purge, with own_id. */
MUSTCHECK enum err sql_user_tombstones(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                       struct db_rows *out);
/* One step: deletes the user's state, and records that belong to no session of theirs; skips what
 * others have locked. *none: there was none. */
MUSTCHECK enum err sql_user_keys_delete(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                        bool *none, int64_t *deleted);
MUSTCHECK enum err sql_user_is_left(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                    bool *left);

/* See session_user_state_get. out->version is 0 if there is none. *allowed: a write with these
 * conditions may be tried. */
MUSTCHECK enum err sql_user_state_read(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                       int64_t generation, const struct session_precondition *p,
                                       struct session *out, bool *allowed);
/* The state of the first user after one, by id. Bare ERR_NOT_FOUND: there is none. */
MUSTCHECK enum err sql_user_state_next(struct sessions *s, struct request_ctx *ctx, struct sv after,
                                       struct session *out);
/* Stores context and ttl_seconds of w->out, or without w->patch deletes the state, if that still
 * has the version and mark of w->out. */
session_write_fn sql_user_state_change MUSTCHECK;

/* ---- sql_common.c: for the other files of this folder ---- */

/* A session without its session_id and messages, from row i. */
void sql_session_from_row(const struct db_rows *rows, int i, struct session *out);
/* The sessions of all rows, with their session_id. Does not set has_more. */
MUSTCHECK enum err sql_sessions_from_rows(struct request_ctx *ctx, const struct db_rows *rows,
                                          struct session_list *out);
/* Messages of the rows, which have generation and SQL_MESSAGE, in the order of the rows or
 * reversed. Ends at the first row whose seq is NULL. */
MUSTCHECK enum err sql_messages_from_rows(struct request_ctx *ctx, const struct db_rows *rows,
                                          bool reversed, struct session_message **out, size_t *n);
/* Sets w->done and, if it is true, the receipt from row i. appended: how many messages the write
 * added at the end. */
void sql_change_from_row(struct session_write *w, const struct db_rows *rows, int i, int status,
                         size_t appended);
/* Copies the receipt's numbers and times into the session. */
void sql_apply_receipt(struct session *s, const struct session_receipt *receipt);

/* $1 to $7 of every write: tenant, id, user, If-Match, key, fingerprint, mark. */
enum { SQL_PRECONDITION_PARAMS = 7 };
MUSTCHECK enum err sql_precondition_params(struct request_ctx *ctx, const struct session_write *w,
                                           struct db_param *out);
/* For a session that the write creates: milliseconds of PostgreSQL's clock, and random bits. */
int64_t sql_new_generation(const struct sessions *s, const struct session_write *w);
/* The mark of a write: 64 random bits. */
struct db_param sql_mark(void);
/* db_batch for a write of at most SQL_WRITE_MAX calls; it describes failures to the client.
 * generation: the parameter, which is set here, for that of a session that a call may create; NULL:
 * none does. Such a write is first checked against the tenant's limit of open sessions. It is tried
 * once more, with another generation, if that one is taken. */
enum { SQL_WRITE_MAX = 2 };
MUSTCHECK enum err sql_write(struct sessions *s, struct request_ctx *ctx,
                             const struct session_write *w, struct db_call *calls, size_t n,
                             struct db_param *generation);
/* A write of one statement that creates and appends nothing. Sets its first parameters and, with
 * base, $8 to $10: the state as it was read. Takes the receipt from its row. */
MUSTCHECK enum err sql_write_one(struct sessions *s, struct request_ctx *ctx,
                                 struct session_write *w, const struct session *base,
                                 const struct db_stmt *stmt, struct db_param *p, int n, int status);

/* Arrays over drafts: types, roles, contents, metadata, ids, extra, tokens. */
enum { SQL_MESSAGE_PARAMS = 7 };
MUSTCHECK enum err sql_message_arrays(struct request_ctx *ctx,
                                      const struct session_message *messages, size_t n,
                                      struct db_param *out);
/* Whether a create or append has one message with a role and content alone, so that its other
 * columns have their defaults, and no key and condition. Its stored size is that of content and
 * metadata. */
bool sql_write_is_plain(const struct session_write *w);
/* A name may be an id that a client gave, and statements compare it with those. It may also mean:
 * the generation and seq from which parley made the id; a seq, with generation 0; or neither (0
 * and 0). */
void sql_message_name(struct session_message_name name, int64_t *generation, int64_t *seq);
/* The generations that client-given ids of the made form name. A session of one of them may not
 * take such an id: two of its messages could have one id. */
MUSTCHECK enum err sql_reserved_generations(struct request_ctx *ctx,
                                            const struct session_message *messages, size_t n,
                                            struct db_param *out);
