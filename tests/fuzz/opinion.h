/* SPDX-License-Identifier: MIT */
/* A second opinion on what the guard of JSON must accept, written from RFC 8259 and doc.h alone. */
#ifndef PARLEY_TESTS_FUZZ_OPINION_H
#define PARLEY_TESTS_FUZZ_OPINION_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/sv.h"

/* OPINION_NONE: it depends on what this does not look at, the smallest numbers. */
enum opinion { OPINION_REFUSE, OPINION_ACCEPT, OPINION_NONE };

/* members: of all objects together, those of one name counted each. */
enum opinion opinion_of_json(struct sv text, size_t *members);

#endif
