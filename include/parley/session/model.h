/*
 * What a session is, as data: the session, its messages, what a client asks for, and what a write
 * reports. The structs own nothing: their texts live in the request's arena or are borrowed from
 * the caller. Times are microseconds of the wall clock. JSON text has passed json_doc_parse.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"
#include "parley/base/uuid.h"

enum {
    SESSION_ID_MAX = 256,          /* bytes */
    SESSION_MESSAGES_MAX = 1000,   /* in one append, and in one page of a client */
    SESSION_THREAD_MAX = 10000,    /* of a session that is answered as a whole */
    SESSION_NEWEST = 20,           /* newest messages that a cached session has; the default page */
    SESSION_TRUNCATE_MAX = 100000, /* messages that one truncation may remove */
    SESSION_KEY_MAX = 255,         /* bytes of an idempotency key */
    SESSION_LAYOUT = 7             /* of a session as bytes in a cache (src/session/codec.c) */
};

/* In one that a client sends, a draft, seq, created_at and native have no meaning, and an absent
 * message_id is one to be made. */
struct session_message {
    int64_t seq;
    struct sv message_id; /* never absent: the client's, or made from generation and seq */
    struct sv type, role; /* role may be absent */
    struct sv content;    /* JSON text; absent where a type has none */
    struct sv metadata;   /* JSON text */
    struct sv extra;  /* JSON object with members of other interfaces and of OpenAI's chat format;
                       * absent: none */
    struct sv tokens; /* the number that its client counted, up to 2^31-1, as text; absent: none */
    int64_t created_at, edited_at; /* edited_at 0: never */
    struct sv native; /* its JSON form, from a cache; absent: not written yet. Code that changes
                       * another field must clear this one */
};

struct session {
    struct sv session_id, user_id, language; /* user_id may be absent */
    int64_t generation, version, state_version, last_seq, message_count;
    uint64_t mark,
        state_mark; /* random bits of the last write, and of the last write of the state */
    int64_t ttl_seconds;
    bool sliding;
    int64_t created_at, updated_at, expires_at;
    struct sv context, metadata;      /* JSON text */
    struct sv summary, forked_from;   /* JSON objects; absent: none */
    struct session_message *messages; /* the newest, oldest first */
    size_t n_messages;
    struct sv native; /* as in struct session_message: the members but for the messages */
    bool degraded;    /* from a cache while PostgreSQL is away: may be old */
};

/* ---- ids ---- */

/* The prefix of a session's id, or of a message's, and the 32 digits of a UUID are another spelling
 * of that UUID. *id becomes the UUID, in the arena. Other ids stay as they are. */
#define SESSION_PREFIX SV("conv_")
#define MESSAGE_PREFIX SV("msg_")
MUSTCHECK enum err session_id_canonical(struct request_ctx *ctx, struct sv prefix, struct sv *id);
/* given or, if it is absent, the id of this generation and seq, which is written to made. */
struct sv session_message_id(struct sv given, int64_t generation, int64_t seq,
                             char made[UUID_LEN + 1]);

/* ---- what a client asks for ---- */

/* Names a message of a session: by its id or, if that is absent, by its seq. */
struct session_message_name {
    struct sv id;
    int64_t seq;
};

struct session_draft {
    struct sv session_id; /* absent: a UUIDv7 is made */
    struct sv user_id, language;
    struct sv context, metadata;
    int64_t ttl_seconds; /* 0: the default */
    bool sliding;
    const struct session_message *messages;
    size_t n_messages;
};

/* What must hold for a call to have an effect, and the key under which it has it once. */
struct session_precondition {
    struct sv user;            /* X-Parley-User; absent: any. Another user gets "not found" */
    const struct sv *if_match; /* entity tags of which one must be the session's; NULL: any */
    size_t n_if_match;
    bool must_exist;       /* If-Match, of any value: nothing is created */
    bool create_only;      /* If-None-Match: * on a PUT */
    struct sv key;         /* Idempotency-Key; absent: none */
    struct sv fingerprint; /* SHA-256 of the request that carries the key */
};

/* The session that a write is on, what must hold for it, and what it did. */
struct session_target {
    struct sv id;
    const struct session_precondition *precondition;
    struct session_receipt *receipt; /* out */
};

/* How a patch changes an object. */
enum session_patch_how {
    SESSION_PATCH_MERGE,   /* RFC 7396 */
    SESSION_PATCH_OVERLAY, /* each member given replaces the member of that name as a whole */
    SESSION_PATCH_REPLACE  /* the object given replaces the old one */
};
/* The members of a patch that were given; those that are text are JSON text. */
struct session_patch {
    bool has_user_id, has_language, has_ttl;
    struct sv user_id; /* absent: null, the session then belongs to nobody */
    struct sv language;
    int64_t ttl_seconds; /* 0: the default */
    struct sv context;   /* a merge patch; absent: not given. "null" resets to {} */
    struct sv metadata;  /* the same, applied as metadata_how says */
    enum session_patch_how metadata_how;
};

/* How a fork differs from the session that it copies. */
struct session_fork {
    struct sv session_id; /* absent: a UUIDv7 is made */
    int64_t last_seq;     /* the last message to copy; -1: all are copied */
    bool has_user_id;
    struct sv user_id; /* absent: nobody */
    struct sv context; /* absent: the same */
};

struct session_append {
    const struct session_message *messages; /* 1 to SESSION_MESSAGES_MAX */
    size_t n_messages;
    bool create; /* makes a session that is not there; its owner is precondition->user */
};

/* One change of messages and context together. */
/* What happens to the message with an id: */
enum session_edit {
    SESSION_PUT,            /* it replaces the message of its id, or is appended if there is none */
    SESSION_REMOVE,         /* it is removed, and must be there */
    SESSION_REMOVE_IF_THERE /* it is removed if it is there */
};
struct session_update {
    /* 0 to SESSION_MESSAGES_MAX, at most one of an id. */
    const struct session_message *messages;
    const enum session_edit *edits; /* of each of them */
    size_t n_messages;
    bool clear;        /* all messages that were there before are removed first */
    struct sv context; /* its members replace those of the same name; absent: no change */
    int64_t seq;       /* of a message to be removed that has no id */
};

/* ---- what a write did ---- */

/* Enough for the answer; an idempotency record keeps it. */
struct session_receipt {
    struct sv session_id;
    int64_t generation, version, state_version, message_count;
    uint64_t mark, state_mark;
    uint64_t mark_before; /* the mark directly before the write */
    int64_t first_seq;    /* of the appended messages; 0: none; or how many were truncated */
    int64_t last_seq;     /* the highest that the session has given */
    int64_t at, session_at, expires_at; /* the write; the session's creation and expiry */
    int status;                         /* HTTP status of the first answer */
    bool created;                       /* this call made the session */
    bool superseded; /* a later append of the same batch has changed the session again */
    bool replayed;   /* it answers an earlier request with the same key again */
};
/* The messages that n drafts became by a write, without the first skip. out: room for the others;
 * their ids are in the arena. */
MUSTCHECK enum err session_messages_of(struct request_ctx *ctx,
                                       const struct session_message *drafts, size_t n, size_t skip,
                                       const struct session_receipt *receipt,
                                       struct session_message *out);
