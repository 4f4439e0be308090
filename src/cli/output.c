/* SPDX-License-Identifier: MIT */
/* What commands print: a tree of json-c, as JSON (--json) or as a table for people. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/clock.h"
#include "parley/base/utf8.h"

/* LINE_DEPTH: containers around the members that get a line each in JSON. */
enum { CELL_MAX = 32, LINE_DEPTH = 2 };

void output_begin(struct output *out)
{
    out->root = json_object_new_object();
    out->failed = !out->root;
}

struct json_object *output_add(struct output *out, struct json_object *parent, const char *name,
                               struct json_object *value)
{
    const bool good = parent && value &&
                      (name ? json_object_object_add(parent, name, value)
                            : json_object_array_add(parent, value)) == 0;
    if (good)
        return value;
    json_object_put(value);
    out->failed = true;
    return NULL;
}

void output_text(struct output *out, struct json_object *parent, const char *name, struct sv text)
{
    char *copy = malloc(text.n + 1);
    const bool valid = utf8_valid(text, NULL);
    for (size_t i = 0; copy && i < text.n; i++)
        copy[i] = valid || (unsigned char)text.p[i] < 0x80 ? text.p[i] : '?';
    (void)output_add(out, parent, name,
                     copy ? json_object_new_string_len(copy, (int)text.n) : NULL);
    free(copy);
}

void output_number(struct output *out, struct json_object *parent, const char *name, int64_t n)
{
    (void)output_add(out, parent, name, json_object_new_int64(n));
}

void output_time(struct output *out, struct json_object *parent, const char *name, int64_t wall_us)
{
    char text[CLOCK_RFC3339_LEN + 1];
    if (wall_us == 0) {
        /* json-c's null is NULL. */
        out->failed = out->failed || !parent || json_object_object_add(parent, name, NULL) != 0;
        return;
    }
    clock_rfc3339(wall_us, text);
    memcpy(strchr(text, '.'), "Z", 2);
    output_text(out, parent, name, sv_from(text));
}

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20)
            printf("\\u%04x", (unsigned)*text);
        else
            printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    putchar('"');
}

/* Before a member of a container that has depth others around it, and before its end. */
static void print_break(int depth, bool first, bool end)
{
    if (!first && !end)
        putchar(',');
    if (depth < LINE_DEPTH && !(first && end))
        printf("\n%*s", 2 * (end ? depth : depth + 1), "");
    else if (!first && !end)
        putchar(' ');
}

/* Not by json-c's serializer: version 0.16 goes on after a failed allocation, and the text then
 * lacks a piece. Allocates nothing. */
static void print_json(struct json_object *value, int depth)
{
    bool first = true;
    if (json_object_is_type(value, json_type_object)) {
        putchar('{');
        json_object_object_foreach(value, name, member)
        {
            print_break(depth, first, false);
            print_string(name);
            fputs(": ", stdout);
            print_json(member, depth + 1);
            first = false;
        }
        print_break(depth, first, true);
        putchar('}');
    } else if (json_object_is_type(value, json_type_array)) {
        putchar('[');
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            print_break(depth, i == 0, false);
            print_json(json_object_array_get_idx(value, i), depth + 1);
        }
        print_break(depth, json_object_array_length(value) == 0, true);
        putchar(']');
    } else if (json_object_is_type(value, json_type_string)) {
        print_string(json_object_get_string(value));
    } else if (json_object_is_type(value, json_type_int)) {
        printf("%" PRId64, json_object_get_int64(value));
    } else {
        fputs(!value ? "null" : json_object_get_boolean(value) ? "true" : "false", stdout);
    }
}

/* The text of a cell, in buffer unless it is a string; of the head if row is NULL. */
static const char *cell_text(const struct json_object *row, const struct output_column *column,
                             char buffer[CELL_MAX])
{
    struct json_object *value = row ? json_object_object_get(row, column->member) : NULL;
    if (!value)
        return row ? column->null_text : column->title;
    if (json_object_is_type(value, json_type_string))
        return json_object_get_string(value);
    snprintf(buffer, CELL_MAX, "%" PRId64 "%s", json_object_get_int64(value),
             column->unit ? column->unit : "");
    return buffer;
}

/* Measures all cells, and then prints them. The last column of a line is not padded. */
static void print_table(const struct json_object *rows, const struct output_column *columns,
                        size_t n)
{
    int widths[8] = {0};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i <= json_object_array_length(rows); i++)
            for (size_t k = 0; k < n; k++) {
                char buffer[CELL_MAX];
                const bool last = k + 1 == n;
                const struct json_object *row =
                    i > 0 ? json_object_array_get_idx(rows, i - 1) : NULL;
                const char *text = cell_text(row, &columns[k], buffer);
                if (pass == 0)
                    widths[k] = (int)strlen(text) > widths[k] ? (int)strlen(text) : widths[k];
                else
                    printf("%*s%s",
                           columns[k].right ? widths[k]
                           : last           ? 0
                                            : -widths[k],
                           text, last ? "\n" : "  ");
            }
}

enum err output_end(struct output *out, enum err e, bool json, const struct json_object *rows,
                    const struct output_column *columns, size_t n)
{
    if (e == ERR_NONE && out->failed)
        e = ERR_NOMEM;
    if (e == ERR_NONE && json) {
        print_json(out->root, 0);
        putchar('\n');
    } else if (e == ERR_NONE) {
        print_table(rows, columns, n);
    }
    json_object_put(out->root);
    return e;
}
