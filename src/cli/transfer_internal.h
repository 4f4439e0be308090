/* SPDX-License-Identifier: MIT */
/* What parley export and parley import share. */
#pragma once

#include <stdio.h>

#include "cli_internal.h"
#include "parley/api/transfer.h"

/* For "%lld session%s". */
#define COUNT(n) (n), (n) == 1 ? "" : "s"

/* How far an export or import is, on stderr. The first call only begins. */
struct progress {
    const char *verb; /* such as "checked" */
    int64_t total;    /* bytes; 0: not known */
    int64_t begun_us, said_us;
    bool is_open; /* the line on the terminal has no end yet */
};
void progress_say(struct progress *p, int64_t bytes, int64_t messages);
/* Ends that line, so that other text begins a line of its own. */
void progress_end(struct progress *p);

/* ---- import_input.c: the records of a file, one after the other ---- */

enum { IMPORT_RECORD_MAX = 64 * 1024 * 1024 };
struct import_input {
    FILE *file;
    bool is_array; /* each element is a record, as in ChatGPT's export; else each line */
    bool is_ended; /* of an array: its ] was read */
    size_t number; /* of the line, or of the element, from 1 */
    char record[IMPORT_RECORD_MAX + 1]; /* what is not used takes no memory of the system */
};
/* The next record, borrowed until the next call. Empty lines are left out. One that is too long is
 * cut to one byte more than it may have. False: there is none, or ferror says why. */
MUSTCHECK bool import_input_next(struct import_input *in, struct sv *record);
