/*
 * The native form of sessions and messages as JSON. Where a tier kept that form, it is copied; else
 * it is written from the fields: the bytes are the same.
 */
#ifndef PARLEY_SESSION_NATIVE_FORM_H
#define PARLEY_SESSION_NATIVE_FORM_H

#include "parley/json/json_writer.h"
#include "parley/session/session.h"

/* Where in what j writes to the values of a form begin, a string's behind its quote: of the fields
 * that are texts, in the order of their structs. A form that was copied has none. */
enum { SESSION_JSON_TEXTS = 5, MESSAGE_JSON_TEXTS = 6 };
struct session_json_offsets {
    size_t at[MESSAGE_JSON_TEXTS]; /* session: id, user, language, context, metadata;
                                      message: id, type, role, content, metadata, extra */
};

/* places: may be NULL. */
void session_write_message(struct json_writer *j, const struct session_message *m,
                           struct session_json_offsets *places);
/* An array of them. */
void session_write_messages(struct json_writer *j, const struct session_message *m, size_t n);
/* The members of the session's object, without its braces and its messages; without a context that
 * was not read. */
void session_write_members(struct json_writer *j, const struct session *s,
                           struct session_json_offsets *places);

#endif
