/* SPDX-License-Identifier: MIT */
/*
 * OpenAI's Conversations, the resource `conversations` of its API reference, for OpenAI's own
 * clients. A conversation is a session, and an item is a message of it.
 */
#pragma once

#include "api/common/handler.h"

/* openai_conversations.c, openai_items.c */
api_handler openai_conversation_create, openai_conversation_get, openai_conversation_update,
    openai_conversation_delete, openai_items_create, openai_items_list, openai_item_get,
    openai_item_delete;
extern const struct api_param openai_list_params[];

/* openai_input.c: each failure names the field at fault. */

/* The members that a session has no field for are kept in its context, under "openai". */
struct openai_body {
    const struct json_node *items; /* NULL: not given, or null */
    struct sv metadata;            /* {}: not given, or null */
    struct sv context;             /* JSON object; absent: there are no other members */
};
MUSTCHECK enum err openai_read_body(const struct json_input *in, struct openai_body *out);
/* Refuses more than max items. *out is in the arena. */
MUSTCHECK enum err openai_read_items(const struct json_input *in, const struct json_node *items,
                                     int64_t max, const struct session_message **out, size_t *n);

/* openai_output.c */

void openai_write_item(struct json_writer *j, const struct session_message *m);
/* With has_more, last_id is made of the generation and the seq of the last item, because an id that
 * a client chose is no cursor once its item is deleted. */
void openai_write_list(struct json_writer *j, const struct session_message *m, size_t n,
                       bool has_more, int64_t generation);
/* The whole answer: the conversation of c->session, with the ETag of its state. */
MUSTCHECK enum err openai_answer_conversation(struct api_call *c);
/* A member: prefix ("conv_" or "msg_") and the digits of a UUID, or the id that a client chose. */
void openai_put_id(struct json_writer *j, const char *key, struct sv prefix, struct sv id);
