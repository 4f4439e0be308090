/* SPDX-License-Identifier: MIT */
/* The input of parley import: one line of a file at a time, or one element of its array. */
#include "transfer_internal.h"

#include <string.h>

/* transfer_read refuses what is not JSON, so of an array only strings and depth matter here. */
bool import_input_next(struct import_input *in, struct sv *record)
{
    bool in_string = false, escaped = false;
    size_t n = 0;
    for (int depth = 0;;) {
        const int c = getc_unlocked(in->file);
        const bool ends = !in->is_array ? c == '\n'
                                        : depth == 0 && !in_string &&
                                              (c == ',' || c == ']' || (c == '[' && n == 0));
        if (ends || c == EOF) {
            in->is_ended = c == ']' || (c == EOF && n == 0 && in->is_ended);
            in->number += n > 0 || c == '\n';
            *record = (struct sv){in->record, n};
            if (n > 0 || c == EOF)
                return n > 0;
        } else if (n > 0 || !memchr(" \t\r\n", c, 4)) {
            if (n <= IMPORT_RECORD_MAX)
                in->record[n++] = (char)c;
            if (!in_string)
                depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            in_string = in_string ? escaped || c != '"' : c == '"';
            escaped = in_string && !escaped && c == '\\';
        }
    }
}
