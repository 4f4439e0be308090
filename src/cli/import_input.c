/* SPDX-License-Identifier: MIT */
/* The input of parley import: one line of a file at a time, or one element of its array. */
#include "transfer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool import_input_open(struct import_input *in, const char *path, bool is_array)
{
    struct stat st;
    *in = (struct import_input){.is_array = is_array, .file = fopen(path, "re")};
    if (!in->file || fstat(fileno(in->file), &st) != 0)
        return false;
    in->size = st.st_size;
    if (S_ISREG(st.st_mode))
        return true;
    errno = ESPIPE;
    return false;
}

void import_input_close(struct import_input *in)
{
    free(in->text);
    if (in->file)
        fclose(in->file);
}

void import_input_rewind(struct import_input *in)
{
    rewind(in->file);
    in->number = 0;
    in->begun = in->ended = false;
}

int64_t import_input_position(const struct import_input *in)
{
    return ftello(in->file);
}

static bool put_byte(struct import_input *in, int c)
{
    enum { FIRST = 4096 };
    if (in->n == in->cap) {
        const size_t cap = in->cap ? in->cap * 2 : FIRST;
        char *grown = realloc(in->text, cap);
        if (!grown)
            return false;
        in->text = grown;
        in->cap = cap;
    }
    in->text[in->n++] = (char)c;
    return true;
}

/* From the first byte of an element to the comma or bracket after it. transfer_read refuses what is
 * not JSON, so only strings and depth matter here. */
static bool read_element(struct import_input *in)
{
    bool in_string = false, escaped = false;
    in->n = 0;
    for (int depth = 0, c; (c = getc_unlocked(in->file)) != EOF;) {
        if (depth == 0 && !in_string && (c == ',' || c == ']' || (c == '[' && !in->begun))) {
            in->begun = true;
            in->ended = c == ']';
            if (in->n > 0)
                return true;
            continue;
        }
        if (in->n == 0 && memchr(" \t\r\n", c, 4))
            continue;
        if (!put_byte(in, c))
            return false;
        if (!in_string)
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        in_string = in_string ? escaped || c != '"' : c == '"';
        escaped = in_string && !escaped && c == '\\';
    }
    return in->n > 0;
}

static bool read_line(struct import_input *in)
{
    const ssize_t n = getline(&in->text, &in->cap, in->file);
    in->n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

bool import_input_next(struct import_input *in, struct sv *text)
{
    errno = 0;
    while (in->is_array ? read_element(in) : read_line(in)) {
        in->number++;
        while (in->n > 0 && memchr(" \t\r\n", in->text[in->n - 1], 4))
            in->n--;
        *text = (struct sv){in->text, in->n};
        if (in->n > 0)
            return true;
    }
    return false;
}
