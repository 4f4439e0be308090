/*
 * Reading ahead. A thread that has several reads to answer, each with a context of its own, asks
 * PostgreSQL for all their stamps in one round trip. A later read in such a context finds its stamp
 * there. Without one it asks by itself.
 */
#ifndef PARLEY_SESSION_AHEAD_H
#define PARLEY_SESSION_AHEAD_H

#include "parley/session/session.h"

enum { SESSION_AHEAD_MAX = 16 };
struct session_ahead;
/* Whether it is of use now: memory has sessions, and PostgreSQL must be asked. */
bool session_ahead_is_useful(const struct sessions *s);
/* Whether the read of this context was read ahead. */
bool session_ahead_is_done(const struct request_ctx *ctx);
/* Lives in the context's arena; the context refers to it. id is borrowed. NULL: no memory. */
struct session_ahead *session_ahead_new(struct request_ctx *ctx, struct sv id);
/* The results live in shared, which must be reset after the arenas of all contexts. */
void session_ahead_read(struct sessions *s, struct arena *shared,
                        struct session_ahead *const *ahead, size_t n);

#endif
