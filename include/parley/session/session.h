/*
 * The one session module: the only place that knows what a session is. PostgreSQL is the only
 * source of truth; a cached value is used only when it says so (src/session/freshness.c).
 *
 * struct sessions has no state but its pool, its cache and its settings: two in one process share
 * nothing. All of its functions may be called from any thread at once; what they return lives in
 * ctx->arena. A failure is described in ctx->err. While PostgreSQL is known to be away, writes are
 * refused with ERR_UNAVAILABLE before they touch anything.
 *
 * Strings that come in must be checked by the caller for length and alphabet where the interface
 * says so (session_id_valid and the like); JSON text must have passed json_doc_parse.
 */
#ifndef PARLEY_SESSION_SESSION_H
#define PARLEY_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"
#include "parley/base/uuid.h"
#include "parley/cache/cache.h"
#include "parley/db/db.h"
#include "parley/db/hosts.h"

enum {
    SESSION_ID_MAX = 128,
    SESSION_MESSAGES_MAX = 1000, /* in one append, and in one page */
    SESSION_WINDOW = 20,   /* newest messages kept with a cached session, and the default page */
    SESSION_KEY_MAX = 255, /* bytes of an idempotency key */
    SESSION_LAYOUT = 4     /* of a session as bytes in a cache (src/session/codec.c) */
};

struct sessions;

struct sessions_settings {
    int64_t ttl_seconds;   /* of a session that names none */
    int64_t state_bytes;   /* most bytes of context and metadata that a patch may leave, each */
    int64_t page_bytes;    /* most bytes of content and metadata that one answer may hold */
    int64_t sweep_s;       /* pause between two passes of the sweeper; 0: no sweeper */
    int statement_ms;      /* bound of one of the sweeper's statements */
    int64_t cache_seconds; /* no cache keeps a session longer */
    int64_t store_ms;      /* no cache is given a session later than this after it was read */
    const struct db_hosts_shared *hosts; /* borrowed; NULL: other hosts are not known */
};

/* db and cache must outlive it; cache may be NULL. NULL: no memory. */
struct sessions *sessions_open(const struct sessions_settings *settings, struct db *db,
                               struct cache *cache, struct metrics_slot *slot);
void sessions_close(struct sessions *s); /* ends the sweeper; NULL is fine */

/* ---- what a session is ---- */

struct session_message {
    int64_t seq;
    struct sv message_id; /* always set: the client's, or made from generation and seq */
    struct sv type, role; /* role may be absent */
    struct sv content;    /* JSON text; absent where a type has none */
    struct sv metadata;   /* JSON text */
    struct sv extra;      /* JSON object: members of other interfaces; absent: none */
    int64_t created_at;   /* wall clock, us */
    struct sv native;     /* its native form, from a cache; absent: to be written. Code that
                           * changes a field of the message must clear it */
};

struct session {
    struct sv session_id, user_id, language; /* user_id may be absent */
    int64_t generation, version, state_version, last_seq, message_count;
    uint64_t mark, state_mark; /* random bits of the last write, and of the last one of the state */
    int64_t ttl_seconds;
    bool sliding;
    int64_t created_at, updated_at, expires_at;
    struct sv context, metadata;      /* JSON text */
    struct session_message *messages; /* the newest, oldest first */
    size_t n_messages;
    struct sv native; /* as in struct session_message: its members but for the messages */
    bool degraded;    /* from a cache while PostgreSQL is away: may be old */
};

/* The predicate of expiry; its clock is a parameter. */
bool session_is_expired(const struct session *s, int64_t now_us);
/* 1 to SESSION_ID_MAX of A–Z a–z 0–9 . _ : - and neither "." nor "..". */
bool session_id_valid(struct sv id);
/* conv_ and the 32 digits of a UUID are another spelling of that UUID: *id becomes it, in the
 * arena. Other ids stay as they are. */
MUSTCHECK enum err session_id_canonical(struct request_ctx *ctx, struct sv *id);
/* The same alphabet; not digits alone, since those name a message by its seq. */
bool session_message_id_valid(struct sv id);
/* As session_id_canonical, for msg_. */
MUSTCHECK enum err session_message_id_canonical(struct request_ctx *ctx, struct sv *id);

/* ---- what a client asks for ---- */

struct session_message_draft {
    struct sv message_id; /* absent: made */
    struct sv type, role; /* type is never absent */
    struct sv content;    /* JSON text or absent */
    struct sv metadata;   /* JSON text, never absent */
    struct sv extra;      /* JSON object that is not empty, or absent */
};

/* The id that a client gave or, if given is absent, a made one, which is written to made. */
struct sv session_message_id(struct sv given, int64_t generation, int64_t seq,
                             char made[UUID_LEN + 1]);
/* The message that a draft became; made: room for its id if the draft has none, kept as long. */
struct session_message session_message_of(const struct session_message_draft *draft,
                                          int64_t generation, int64_t seq, int64_t at,
                                          char made[UUID_LEN + 1]);
struct session_draft {
    struct sv session_id; /* absent: a UUIDv7 is made */
    struct sv user_id, language;
    struct sv context, metadata;
    int64_t ttl_seconds; /* 0: the default */
    bool sliding;
    const struct session_message_draft *messages;
    size_t n_messages;
};

/* What must hold for a call to have an effect, and the key under which it has it once. */
struct session_precondition {
    struct sv user;            /* X-Parley-User; absent: any. A mismatch is "not found" */
    const struct sv *if_match; /* entity tags of which one must be the session's; NULL: any */
    size_t n_if_match;
    bool create_only;      /* If-None-Match: * on a PUT */
    struct sv key;         /* Idempotency-Key; absent: none */
    struct sv fingerprint; /* SHA-256 of the request that carries the key */
};

/* How what was given goes into what is there: RFC 7396; each member as a whole in place of the one
 * of its name; or in place of everything. */
enum session_patch_how { SESSION_PATCH_MERGE, SESSION_PATCH_OVERLAY, SESSION_PATCH_REPLACE };

/* The members of a patch that were given; text members are JSON text. */
struct session_patch {
    bool has_user_id, has_language, has_ttl;
    struct sv user_id; /* absent: null, the session belongs to nobody */
    struct sv language;
    int64_t ttl_seconds; /* 0: the default */
    struct sv context;   /* a merge patch; absent: not given. "null" resets to {} */
    struct sv metadata;  /* the same, applied as metadata_how says */
    enum session_patch_how metadata_how;
};

/* What a write did: enough for its answer, and what an idempotency key remembers. */
struct session_receipt {
    struct sv session_id;
    int64_t generation, version, state_version, message_count;
    uint64_t mark, state_mark;
    uint64_t mark_before;        /* the row's mark directly before the write */
    int64_t first_seq, last_seq; /* of what was appended; 0: nothing was */
    int64_t at, session_at, expires_at;
    int status;                     /* HTTP status that the first answer had */
    bool created;                   /* the session was made by this call */
    bool replayed;                  /* this is the answer to an earlier request with the same key */
    struct session_message *window; /* ?return=N: the newest N, oldest first */
    size_t n_window;
};

/* ---- calls ---- */

/* A new session with its first messages: both or neither. ERR_CONFLICT: the id is taken. */
MUSTCHECK enum err session_create(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_draft *draft,
                                  const struct session_precondition *precondition,
                                  struct session *out, struct session_receipt *receipt);
/* Gets the session, or makes it as drafted; atomically, whoever else does. receipt->created says
 * which it was. */
MUSTCHECK enum err session_get_or_create(struct sessions *s, struct request_ctx *ctx,
                                         const struct session_draft *draft,
                                         const struct session_precondition *precondition,
                                         struct session *out, struct session_receipt *receipt);
/* The session with its newest n messages (0 to SESSION_MESSAGES_MAX, fewer where page_bytes says
 * so). ERR_NOT_FOUND: absent, expired, or of another user. While PostgreSQL is away: what a cache
 * holds, marked as degraded, or ERR_UNAVAILABLE. */
MUSTCHECK enum err session_get(struct sessions *s, struct request_ctx *ctx, struct sv id,
                               struct sv user, size_t n, struct session *out);
/* As session_get, to answer a write that was done before. ERR_NOT_FOUND also if the id now names
 * another session. */
MUSTCHECK enum err session_get_again(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                     int64_t generation, struct sv user, size_t n,
                                     struct session *out);

/* Reading ahead: a thread that has several reads to answer, each with a context of its own, asks
 * PostgreSQL for their stamps in one round trip. A read in that context finds the stamp there, or
 * asks by itself. */
enum { SESSION_AHEAD_MAX = 16 };
struct session_ahead;
/* Whether reading ahead is of use now: memory holds sessions, and PostgreSQL must be asked. */
bool sessions_read_ahead(const struct sessions *s);
/* Whether the read of this context was read ahead. */
bool session_is_ahead(const struct request_ctx *ctx);
/* Lives in the context's arena; the context refers to it. NULL: no memory. id is borrowed. */
struct session_ahead *session_ahead_of(struct request_ctx *ctx, struct sv id);
/* shared: the results live there. It must be reset after the arenas of all contexts. */
void session_read_ahead(struct sessions *s, struct arena *shared,
                        struct session_ahead *const *ahead, size_t n);

/* Applies a merge patch; out has no messages. ERR_PRECONDITION: If-Match. */
MUSTCHECK enum err session_patch(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                 const struct session_patch *patch,
                                 const struct session_precondition *precondition,
                                 struct session *out, struct session_receipt *receipt);
MUSTCHECK enum err session_delete(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  const struct session_precondition *precondition,
                                  struct session_receipt *receipt);

/* Copies a session under a new id, with its owner, state and messages; the messages keep seq and
 * id. The copy's life begins now. out has its newest SESSION_MESSAGES_MAX messages; a replay has it
 * as it is now. ERR_TIMEOUT: it has more than can be copied in a statement's time. */
MUSTCHECK enum err session_copy(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                const struct session_precondition *precondition,
                                struct session *out, struct session_receipt *receipt);

struct session_append {
    const struct session_message_draft *messages; /* 1 to SESSION_MESSAGES_MAX */
    size_t n_messages;
    bool create;     /* make the session if it is not there, owned by precondition->user */
    size_t return_n; /* give the newest so many back; 0: none */
};
/* Appends all or none. ERR_CONFLICT: a message_id is taken in this session. */
MUSTCHECK enum err session_append(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  const struct session_append *append,
                                  const struct session_precondition *precondition,
                                  struct session_receipt *receipt);

/* What happens to the message with an id: */
enum session_edit {
    SESSION_PUT,            /* it is put in place of the one there is, else behind all others */
    SESSION_REMOVE,         /* it must be there, and is removed */
    SESSION_REMOVE_IF_THERE /* it is removed if it is there */
};
/* One change of messages and context together. */
struct session_update {
    const struct session_message_draft *messages; /* 0 to SESSION_MESSAGES_MAX; at most one of an
                                                     id. To be removed: with an id */
    const enum session_edit *edits;               /* of each of them */
    size_t n_messages;
    bool clear;        /* all messages that were there before are removed first */
    struct sv context; /* its members take the place of those of their name; absent: no change */
};
/* All of it or nothing. A message that is put in the place of another keeps its seq, time and
 * metadata. *at is SESSION_MESSAGES_MAX, or the index of the message at fault. ERR_INVALID: it
 * should be removed and is not there. ERR_CONFLICT: its id will be made for another message. */
MUSTCHECK enum err session_update(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  const struct session_update *update,
                                  const struct session_precondition *precondition,
                                  struct session_receipt *receipt, size_t *at);

struct session_page_query {
    int64_t after, before; /* exclusive bounds of seq; 0: none */
    size_t limit;          /* 1 to SESSION_MESSAGES_MAX */
    bool ascending;
    int64_t max_bytes; /* 0: page_bytes */
    bool first_always; /* the first message comes also when it alone is beyond max_bytes */
};
struct session_page {
    struct session_message *messages; /* in the order asked for */
    size_t n;
    bool has_more, degraded; /* degraded: as in struct session */
    int64_t generation, version;
    uint64_t mark;
};
MUSTCHECK enum err session_page(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                struct sv user, const struct session_page_query *query,
                                struct session_page *out);

/* which: a seq in decimal, or a message_id. */
MUSTCHECK enum err session_message_get(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                       struct sv user, struct sv which,
                                       struct session_message *out);
MUSTCHECK enum err session_message_delete(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                          struct sv which,
                                          const struct session_precondition *precondition,
                                          struct session_receipt *receipt);

/* ---- what belongs to one user ---- */

enum { SESSION_LIST_MAX = 100 };

/* Where a session stands in the order of creation; it never changes. */
struct session_position {
    int64_t created_at, generation;
};
struct session_list {
    struct session *sessions; /* without messages, and without context (absent) */
    size_t n;
    bool has_more;
};
/* Live sessions, newest first, behind a place (NULL: from the newest). limit: 1 to
 * SESSION_LIST_MAX; fewer where page_bytes says so. */
MUSTCHECK enum err session_list(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                const struct session_position *behind, size_t limit,
                                struct session_list *out);

/* An export, oldest session first. Each call reads one session or some messages of the last one; no
 * connection is held between calls. It holds each session that was live when the export began and
 * still is when the export reaches it, with its messages at that moment. The caller sets user,
 * which must outlive it, and zeroes the rest. */
struct session_export {
    struct sv user;
    int64_t sessions, messages; /* given so far */
    /* session/'s own: */
    bool begun;
    struct session_position at, until;
    char id[SESSION_ID_MAX]; /* of the session whose messages are being given */
    size_t id_n;
    int64_t generation, seq, last_seq; /* equal: there is no more of it */
};
struct session_export_part {
    bool end;                /* that was all; nothing else is set */
    struct session *session; /* without messages; NULL: messages of the one before */
    struct sv session_id;
    struct session_message *messages; /* in the order of seq */
    size_t n;                         /* may be 0 */
};
MUSTCHECK enum err session_export_next(struct sessions *s, struct request_ctx *ctx,
                                       struct session_export *x, struct session_export_part *out);

/* What an erasure deleted, and whether anything of the user is left. */
struct session_erasure {
    int64_t sessions; /* hidden from everybody at once, then deleted */
    int64_t messages; /* deleted by this call; the sweeper may have been faster at some */
    int64_t keys;     /* deleted by this call, of those that had outlived their sessions */
    bool has_more;
    int64_t expire_by; /* 0: no cache holds any of it; else until when one may, in wall us */
};
/* Deletes all sessions of a user, expired ones and tombstones too, and all that is remembered of
 * the user under idempotency keys, whoever has the session now. Takes at most half of the time that
 * the request has. What was hidden stays hidden; the next call or the sweeper goes on.
 * ERR_OUTCOME_UNKNOWN: it failed after some of it was done. */
MUSTCHECK enum err session_erase_user(struct sessions *s, struct request_ctx *ctx, struct sv user,
                                      struct session_erasure *out);

/* ---- what belongs to a tenant ---- */

enum session_sort { SESSION_BY_CREATION, SESSION_BY_UPDATE, SESSION_BY_ID };

/* The live sessions that match every field given. Sorted by creation, a search reads up to the last
 * session that it returns (all, if these are fewer than limit). Any other sort, and a count, reads
 * all sessions of the tenant. */
struct session_query {
    struct sv user;              /* absent: of any */
    struct sv metadata, context; /* JSON objects whose members they must contain, as jsonb's @>
                                    says; absent: any */
    const struct sv *ids;        /* NULL: any */
    size_t n_ids;
    /* Of a search alone: */
    enum session_sort sort;
    bool ascending;
    size_t limit;
    int64_t offset;
    bool with_context, with_metadata; /* else they are absent in what is given */
};
/* Without messages. ERR_TOO_LARGE: contexts and metadata of these sessions are more than
 * page_bytes. */
MUSTCHECK enum err session_search(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_query *q, struct session_list *out);
MUSTCHECK enum err session_count(struct sessions *s, struct request_ctx *ctx,
                                 const struct session_query *q, int64_t *n);

#endif
