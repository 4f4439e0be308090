/* SPDX-License-Identifier: MIT */
#ifndef PARLEY_TESTS_SESSION_SAME_H
#define PARLEY_TESTS_SESSION_SAME_H

#include "parley/session/session.h"

/* Whether all but ids, generations, versions and times of the sessions is the same. A text that is
 * absent is not an empty one. */
bool same_content(const struct session *a, const struct session *b);
/* Whether the rest is the same, too. */
bool same_session(const struct session *a, const struct session *b);

#endif
