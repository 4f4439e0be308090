/* SPDX-License-Identifier: MIT */
/* An update as a short text. */
#ifndef PARLEY_TESTS_SESSION_EDITS_H
#define PARLEY_TESTS_SESSION_EDITS_H

#include "fixture.h"

enum { EDITS_MAX = 8 };

/* The edits of one update, whose memory is here: "+a=1" puts content "1" under id a ("+=1":
 * without an id), "-a" removes a, "?a" removes it if it is there, "!" clears. */
struct edits {
    struct session_message messages[EDITS_MAX];
    enum session_edit edits[EDITS_MAX];
    char text[256];
    struct session_update update;
};
/* context: JSON, or NULL; borrowed. */
void edits_read(struct edits *s, const char *text, const char *context);
/* Runs one for tenant t1; see w->r and w->at. */
MUSTCHECK enum err edits_run(struct fixture *w, const char *id, const char *text,
                             const char *context, const struct session_precondition *precondition);
/* The session with up to SESSION_MESSAGES_MAX messages, for tenant t1. */
struct session edits_state(struct fixture *w, const char *id);

#endif
