/*
 * Import: sessions that another server made, stored with their own times. The thread rule and the
 * errors are those of session.h.
 *
 * A session is stored wholly or not at all. If all its messages are in one call, it is one
 * transaction. Else it has a hidden id, which no client can send, until its last message is stored:
 * the transaction that stores it gives the session its own id. A hidden session that no call
 * continues expires, and the sweeper deletes it. An import can be repeated: it skips the sessions
 * that are there.
 */
#pragma once

#include "parley/session/users.h"

enum { SESSION_IMPORT_MAX = 1000 }; /* sessions, and messages, of one call */

enum session_import_state {
    SESSION_IMPORT_NEW,  /* none of it is stored */
    SESSION_IMPORT_PART, /* its first messages are stored, and it is hidden */
    SESSION_IMPORT_STORED,
    SESSION_IMPORT_THERE,   /* a session with its id was there, and with its created_at, if given */
    SESSION_IMPORT_EXPIRED, /* its expires_at has passed */
    SESSION_IMPORT_REFUSED, /* why holds the reason, such as another session with its id */
    SESSION_IMPORT_STATES
};
struct session_import {
    /* Its members, the messages of this call in the order of seq, and last_seq and message_count
     * with them. Not given: 0 as created_at, updated_at and ttl_seconds, also of messages;
     * SESSION_ANY_TIME as expires_at. A call sets only the generation. A caller that continues the
     * session keeps it, with new messages; then its texts but session_id are not read. */
    struct session session;
    bool is_last;                    /* the session has no more messages */
    enum session_import_state state; /* in and out; messages of any but NEW and PART are skipped */
    char why[64];                    /* out */
    size_t line;                     /* the caller's */
};
/* Only the first item may be a PART, and all items but the last one must be is_last. The items
 * have at most SESSION_IMPORT_MAX messages in all. An error means that none of the items changed,
 * or, with ERR_OUTCOME_UNKNOWN, that this is not known. */
MUSTCHECK enum err session_import(struct sessions *s, struct request_ctx *ctx,
                                  struct session_import *items, size_t n);
/* Stores the state of a user, in the form of session_user_state_get; what is not given, as above.
 * *stored: false if the user has one. */
MUSTCHECK enum err session_import_user_state(struct sessions *s, struct request_ctx *ctx,
                                             const struct session *state, bool *stored);
