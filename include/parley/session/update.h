/* One change of a session's messages and context together. Thread rule and errors: session.h. */
#ifndef PARLEY_SESSION_UPDATE_H
#define PARLEY_SESSION_UPDATE_H

#include "parley/session/session.h"

/* What happens to the message with an id: */
enum session_edit {
    SESSION_PUT,            /* it replaces the message of its id, or is appended if there is none */
    SESSION_REMOVE,         /* it is removed, and must be there */
    SESSION_REMOVE_IF_THERE /* it is removed if it is there */
};
struct session_update {
    /* 0 to SESSION_MESSAGES_MAX, at most one of an id. One that is to be removed has an id. */
    const struct session_message_draft *messages;
    const enum session_edit *edits; /* of each of them */
    size_t n_messages;
    bool clear;        /* all messages that were there before are removed first */
    struct sv context; /* its members replace those of the same name; absent: no change */
};
/* All of it or nothing. A message that replaces another keeps its seq, time and metadata. *at: the
 * index of the message at fault, or SESSION_MESSAGES_MAX. ERR_INVALID: it should be removed and is
 * not there. ERR_CONFLICT: its id will be made for a later message. */
MUSTCHECK enum err session_update(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  const struct session_update *update,
                                  const struct session_precondition *precondition,
                                  struct session_receipt *receipt, size_t *at);

#endif
