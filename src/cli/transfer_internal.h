/* SPDX-License-Identifier: MIT */
/* What parley export and parley import share. */
#pragma once

#include <stdio.h>

#include "cli_internal.h"
#include "parley/api/transfer.h"

/* ---- progress.c: on stderr, twice a second on a terminal, else every ten seconds ---- */

struct progress {
    const char *verb; /* such as "checked" */
    int64_t total;    /* bytes; 0: not known */
    struct deadline next;
    int64_t begun_us;
    bool is_open; /* the line on the terminal has no end yet */
};
void progress_begin(struct progress *p, const char *verb, int64_t total);
void progress_say(struct progress *p, int64_t bytes, int64_t messages);
/* Ends the line, so that other text begins a line of its own. */
void progress_end(struct progress *p);

/* ---- import_input.c: the texts of a file, one after the other ---- */

struct import_input {
    FILE *file;
    bool is_array;     /* each element is a text, as in ChatGPT's export; else each line */
    bool begun, ended; /* its [ or its ] was read */
    int64_t size;      /* bytes */
    char *text;
    size_t n, cap;
    size_t number; /* of the line, or of the element, from 1 */
};
/* False: errno says why; ESPIPE: it is no regular file. */
MUSTCHECK bool import_input_open(struct import_input *in, const char *path, bool is_array);
void import_input_close(struct import_input *in);
void import_input_rewind(struct import_input *in);
/* The next text, borrowed until the next call. Empty lines are left out. False: there is none, or
 * errno says why. */
MUSTCHECK bool import_input_next(struct import_input *in, struct sv *text);
int64_t import_input_position(const struct import_input *in);
