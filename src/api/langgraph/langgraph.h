/* SPDX-License-Identifier: MIT */
/*
 * LangGraph's threads, for its SDK. A thread is a session; its values are the session's messages
 * and the members of its context. parley runs no graphs: there are no runs, and a thread has only
 * its current state.
 */
#pragma once

#include "api/common/handler.h"

#include "parley/base/uuid.h"

/* langgraph_threads.c, langgraph_search.c */
api_handler langgraph_thread_create, langgraph_thread_get, langgraph_thread_patch,
    langgraph_thread_copy, langgraph_threads_search, langgraph_threads_count, langgraph_state_get,
    langgraph_state_find, langgraph_state_update;
/* The answer to a request that ran out of time and would do so again: the SDK must not repeat it.
 * If e is ERR_TIMEOUT, code and detail replace what ctx says. Returns e. */
enum err langgraph_too_slow(struct request_ctx *ctx, enum err e, const char *code,
                            const char *detail);

/* langgraph_input.c: reads bodies; each failure names the field at fault. A null counts as not
 * given. Members without a meaning here are ignored: newer clients may send them. */

/* *get_or_create: an existing thread is an answer as well. */
MUSTCHECK enum err langgraph_read_draft(const struct json_input *body, struct session_draft *out,
                                        bool *get_or_create);
MUSTCHECK enum err langgraph_read_patch(const struct json_input *body, struct session_patch *out);

/* langgraph_values.c */

/* One message, in any of LangChain's forms. */
MUSTCHECK enum err langgraph_read_message(const struct json_input *in, struct session_message *out);
/* The sum of one or more updates of a thread's values, with the rules of LangGraph's reducer
 * add_messages: a message replaces the one with its id, or is appended; one of type "remove"
 * removes. Zero it before the first update; its arrays are in the arena, and it must not move. All
 * updates are of one document. */
struct langgraph_values {
    struct session_message *messages; /* as in struct session_update */
    enum session_edit *edits;
    size_t *indexes; /* of each in the list that was sent */
    size_t n;
    bool fresh; /* in: the thread has no messages yet, so only these can be removed */
    bool clear; /* out: the thread's own messages are removed first */
    struct json_writer others; /* an open object of the values that are not messages, of all */
    struct buf others_text;
    size_t n_others; /* updates that have such values */
};
/* Adds an update. in->node: an object, null, or NULL. */
MUSTCHECK enum err langgraph_add_values(const struct json_input *in, struct langgraph_values *into);
/* The values that are not messages, of all updates: a JSON object, or absent. */
MUSTCHECK enum err langgraph_values_context(struct request_ctx *ctx, struct langgraph_values *v,
                                            struct sv *out);
/* values: zeroed. *checkpoint: the one that must still be current, or absent. */
MUSTCHECK enum err langgraph_read_update(const struct json_input *body,
                                         struct langgraph_values *values, struct sv *checkpoint);
/* *id is absent if the body names no checkpoint. */
MUSTCHECK enum err langgraph_read_checkpoint(const struct json_input *body, struct sv *id);

/* langgraph_output.c */

/* Members of a thread, as the bits of a selection. */
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
    LANGGRAPH_CONTEXT = 1 << 10, /* only runs have one */
    LANGGRAPH_ALL = (1 << 11) - 1,
    LANGGRAPH_MESSAGES = 1 << 11, /* in the values; only if the messages were read */
    LANGGRAPH_UNREAD = 1 << 12    /* they could not be: the values are null */
};
/* fields: of enum langgraph_field. */
void langgraph_write_thread(struct request_ctx *ctx, struct json_writer *j, const struct session *s,
                            unsigned fields);
void langgraph_write_state(struct request_ctx *ctx, struct json_writer *j, const struct session *s);
/* The id of a session's current state. */
void langgraph_checkpoint_id(int64_t generation, uint64_t mark, char out[UUID_LEN + 1]);
/* The checkpoint that an update made. */
void langgraph_write_updated(struct json_writer *j, const struct session_receipt *r);
