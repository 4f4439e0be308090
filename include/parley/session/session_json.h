/*
 * The JSON form of sessions and messages that the native interface answers with. A form that a
 * cache kept is copied; else it is written from the fields. The bytes are the same.
 */
#pragma once

#include "parley/json/json_writer.h"
#include "parley/session/model.h"

/* The members of a message that OpenAI's chat format has besides role and content; NULL ends them.
 * They are stored in extra, whichever interface wrote them, and stand beside it in the JSON form of
 * a message of type "message". */
extern const char *const session_chat_members[];
/* Whether an object has a member with which the content of its message may be null. */
bool session_has_content_elsewhere(struct sv members);

/* Where the values of the text fields begin in what was written; of a string, after its quote.
 * Session: id, user, language, context, metadata, summary, forked_from; message: id, type, role,
 * content, metadata, extra, tokens. May be NULL. A form that was copied has no offsets. */
enum { SESSION_JSON_TEXTS = 7 };

/* A member of an item: in extra, or in a content that is an object. Absent: there is none. */
struct sv session_item_member(const struct session_message *m, const char *name);

void session_json_message(struct json_writer *j, const struct session_message *m, size_t *at);
/* An array of messages. */
void session_json_messages(struct json_writer *j, const struct session_message *m, size_t n);
/* The members of the session's object, without braces and messages. A context that was not read is
 * left out. */
void session_json_members(struct json_writer *j, const struct session *s, size_t *at);
