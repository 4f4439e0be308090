/* SPDX-License-Identifier: MIT */
/* A second JSON validator to compare the first with, written from RFC 8259 and doc.h alone. */
#ifndef PARLEY_TESTS_FUZZ_REFERENCE_JSON_H
#define PARLEY_TESTS_FUZZ_REFERENCE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/sv.h"

/* REFERENCE_UNSURE: the smallest numbers, whose range this does not check. */
enum reference_verdict { REFERENCE_REFUSE, REFERENCE_ACCEPT, REFERENCE_UNSURE };

/* members: of all objects together, those of one name counted each. */
enum reference_verdict reference_json(struct sv text, size_t *members);

#endif
