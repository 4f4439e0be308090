/* SPDX-License-Identifier: MIT */
/* A second JSON validator to compare the first with, written from RFC 8259 and doc.h alone. */
#ifndef PARLEY_TESTS_FUZZ_REFERENCE_JSON_H
#define PARLEY_TESTS_FUZZ_REFERENCE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/sv.h"

/* REFERENCE_TEXT: JSON, but not for jsonb. REFERENCE_UNSURE: the smallest numbers, of which this
 * does not know whether they are for jsonb. */
enum reference_verdict { REFERENCE_REFUSE, REFERENCE_ACCEPT, REFERENCE_TEXT, REFERENCE_UNSURE };

/* members: of all objects together, those of one name counted each. */
enum reference_verdict reference_json(struct sv text, size_t *members);
/* Whether two strings, given by what stands between their quotes, are the same as JavaScript has
 * them: a list of UTF-16 code units. */
bool reference_same_string(struct sv a, struct sv b);

#endif
