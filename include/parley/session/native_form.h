/*
 * The native form of sessions and messages as JSON. Where a tier kept that form, it is copied; else
 * it is written from the fields: the bytes are the same.
 */
#ifndef PARLEY_SESSION_NATIVE_FORM_H
#define PARLEY_SESSION_NATIVE_FORM_H

#include "parley/json/write.h"
#include "parley/session/session.h"

void session_write_message(struct jout *j, const struct session_message *m);
/* An array of them. */
void session_write_messages(struct jout *j, const struct session_message *m, size_t n);
/* The members of the session's object, without its braces and its messages; without a context that
 * was not read. */
void session_write_members(struct jout *j, const struct session *s);

#endif
