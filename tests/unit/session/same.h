/* SPDX-License-Identifier: MIT */
#ifndef PARLEY_TESTS_SESSION_SAME_H
#define PARLEY_TESTS_SESSION_SAME_H

#include "../suite.h"
#include "parley/session/session.h"

/* Each field of b is what it is in a: absent, empty or this. */
void same_session(const struct session *a, const struct session *b);

#endif
