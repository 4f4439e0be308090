/* SPDX-License-Identifier: MIT */
/* What parley export and parley import share. */
#pragma once

#include <stdio.h>

#include "cli_internal.h"
#include "parley/api/transfer.h"

/* ---- progress.c: on stderr, each second on a terminal, else each ten seconds ---- */

struct progress {
    const char *does; /* "checked" */
    int64_t total;    /* bytes; 0: not known */
    struct deadline next;
    int64_t begun_us;
    bool is_said; /* a line on the terminal is not ended */
};
void progress_begin(struct progress *p, const char *does, int64_t total);
void progress_say(struct progress *p, int64_t bytes, int64_t messages);
/* So that other text begins a line of its own. */
void progress_end(struct progress *p);

/* ---- import_input.c: the texts of a file, one after the other ---- */

struct import_input {
    FILE *file;
    bool is_array;     /* of texts, as in ChatGPT's export; else each line is one */
    bool begun, ended; /* the brackets of the array were read */
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
 * errno is set. */
MUSTCHECK bool import_input_next(struct import_input *in, struct sv *text);
int64_t import_input_position(const struct import_input *in);
