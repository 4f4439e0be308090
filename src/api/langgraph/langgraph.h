/* SPDX-License-Identifier: MIT */
/*
 * LangGraph's threads, as its SDK calls them: a thread is a session, its values are the session's
 * messages and the members of its context. There are no graphs here, so no runs and, of a thread's
 * states, only the one that it is in.
 */
#ifndef PARLEY_API_LANGGRAPH_H
#define PARLEY_API_LANGGRAPH_H

#include "api/common/handler.h"

#include "parley/base/uuid.h"
#include "parley/session/update.h"

/* langgraph_threads.c, langgraph_search.c, langgraph_state.c */
api_handler langgraph_thread_create, langgraph_thread_get, langgraph_thread_patch,
    langgraph_thread_copy, langgraph_threads_search, langgraph_threads_count, langgraph_state_get,
    langgraph_state_find, langgraph_state_update;

/* langgraph_routes.c: what ran out of time and would do so again, in place of the timeout e, which
 * is returned. The SDK is not to repeat it by itself. */
enum err langgraph_too_slow(struct request_ctx *ctx, enum err e, const char *slug,
                            const char *words);

/* langgraph_input.c: what bodies say. A null is as good as nothing, and members that newer clients
 * may have are left alone. */

/* *get_or_create: the thread may be there already. */
MUSTCHECK enum err langgraph_read_draft(struct request_ctx *ctx, const struct json_doc *doc,
                                        struct session_draft *out, bool *get_or_create);
MUSTCHECK enum err langgraph_read_patch(struct request_ctx *ctx, const struct json_doc *doc,
                                        struct session_patch *out);

/* langgraph_values.c */

/* What one update of a thread's values, or several one after the other, make of it: as the reducer
 * add_messages does, a message takes the place of the one with its id, or goes behind all others;
 * one of type "remove" removes. Zeroed at first. */
struct langgraph_values {
    struct session_message_draft *messages; /* as in struct session_update */
    enum session_edit *edits;
    size_t *places; /* of each in the list that was sent */
    size_t n;
    bool fresh;  /* in: there are no messages before these, so none but these can be removed */
    bool clear;  /* those that were there before go first */
    size_t room; /* in the three */
    struct sv
        *others; /* of each update that has some, the values that are not messages: an object */
    size_t n_others, others_room;
};
/* node: an object, null, or NULL. */
MUSTCHECK enum err langgraph_add_values(struct request_ctx *ctx, const struct json_doc *doc,
                                        const struct json_node *node, const char *path,
                                        struct langgraph_values *into);
/* The values that are not messages, of all updates: a JSON object, or absent. */
MUSTCHECK enum err langgraph_values_context(struct request_ctx *ctx,
                                            const struct langgraph_values *v, struct sv *out);
/* {"values", "checkpoint", "checkpoint_id"}; values: zeroed. checkpoint: the one that must be the
 * current one, or absent. */
MUSTCHECK enum err langgraph_read_update(struct request_ctx *ctx, const struct json_doc *doc,
                                         struct langgraph_values *values, struct sv *checkpoint);
/* {"checkpoint": {"checkpoint_id"}}: absent if it names none. */
MUSTCHECK enum err langgraph_read_checkpoint(struct request_ctx *ctx, const struct json_doc *doc,
                                             struct sv *id);

/* langgraph_output.c */

enum langgraph_field {
    LANGGRAPH_ID = 1 << 0,
    LANGGRAPH_CREATED = 1 << 1,
    LANGGRAPH_UPDATED = 1 << 2,
    LANGGRAPH_STATE_UPDATED = 1 << 3,
    LANGGRAPH_METADATA = 1 << 4,
    LANGGRAPH_STATUS = 1 << 5,
    LANGGRAPH_CONFIG = 1 << 6,
    LANGGRAPH_VALUES = 1 << 7,
    LANGGRAPH_INTERRUPTS = 1 << 8,
    LANGGRAPH_ERROR = 1 << 9,
    LANGGRAPH_ALL = (1 << 10) - 1,
    LANGGRAPH_MESSAGES = 1 << 10 /* in the values; for a thread whose messages were read */
};
/* fields: of enum langgraph_field. */
void langgraph_write_thread(struct json_writer *j, const struct session *s, unsigned fields);
void langgraph_write_state(struct json_writer *j, const struct session *s);
/* The id of the state that a session is in. */
void langgraph_checkpoint_id(int64_t generation, uint64_t mark, char out[UUID_LEN + 1]);
/* The answer to an update: the checkpoint that it made. */
void langgraph_write_updated(struct json_writer *j, const struct session_receipt *r);

#endif
