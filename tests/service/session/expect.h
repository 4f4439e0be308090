/* SPDX-License-Identifier: MIT */
/* Sessions of one message, whose content says whose they are. */
#ifndef PARLEY_TESTS_SESSION_EXPECT_H
#define PARLEY_TESTS_SESSION_EXPECT_H

#include "fixture.h"

/* The one message of the session is this, by every way there is to it, cached or not. */
void expect_only(struct world *w, const char *tenant, const char *id, const char *content);
/* The tenant has no such session. */
void expect_nothing(struct world *w, const char *tenant, const char *id);

#endif
