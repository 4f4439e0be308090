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

/* value (NULL: there was no memory) becomes part of parent; NULL if it does not. */
static struct json_object *attach(struct output *out, struct json_object *parent, const char *name,
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

struct json_object *output_array(struct output *out, struct json_object *parent, const char *name)
{
    return attach(out, parent, name, json_object_new_array());
}

struct json_object *output_object(struct output *out, struct json_object *parent, const char *name)
{
    return attach(out, parent, name, json_object_new_object());
}

void output_text(struct output *out, struct json_object *parent, const char *name, struct sv text)
{
    char *copy = malloc(text.n + 1);
    const bool valid = utf8_valid(text, NULL);
    for (size_t i = 0; copy && i < text.n; i++)
        copy[i] = valid || (unsigned char)text.p[i] < 0x80 ? text.p[i] : '?';
    (void)attach(out, parent, name, copy ? json_object_new_string_len(copy, (int)text.n) : NULL);
    free(copy);
}

void output_number(struct output *out, struct json_object *parent, const char *name, int64_t n)
{
    (void)attach(out, parent, name, json_object_new_int64(n));
}

void output_bool(struct output *out, struct json_object *parent, const char *name, bool value)
{
    (void)attach(out, parent, name, json_object_new_boolean(value));
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

/* The text of a cell, in buffer unless it is a string of the tree. */
static const char *cell_text(const struct json_object *row, const struct output_column *column,
                             char buffer[CELL_MAX])
{
    struct json_object *value = json_object_object_get(row, column->member);
    if (json_object_is_type(value, json_type_string))
        return json_object_get_string(value);
    if (!value)
        return column->null_text;
    snprintf(buffer, CELL_MAX, "%" PRId64 "%s", json_object_get_int64(value),
             column->unit ? column->unit : "");
    return buffer;
}

/* Prints column of a line, padded to width; the last one of a line ends it. */
static void print_cell(const char *text, const struct output_column *column, int width, bool last)
{
    if (column->right)
        printf("%*s", width, text);
    else
        printf("%-*s", last ? 0 : width, text);
    fputs(last ? "\n" : "  ", stdout);
}

static void print_table(const struct json_object *rows, const struct output_column *columns,
                        size_t n)
{
    int widths[8];
    char buffer[CELL_MAX];
    const size_t n_rows = json_object_array_length(rows);
    for (size_t k = 0; k < n; k++) {
        widths[k] = (int)strlen(columns[k].title);
        for (size_t i = 0; i < n_rows; i++) {
            const int width =
                (int)strlen(cell_text(json_object_array_get_idx(rows, i), &columns[k], buffer));
            widths[k] = width > widths[k] ? width : widths[k];
        }
        print_cell(columns[k].title, &columns[k], widths[k], k + 1 == n);
    }
    for (size_t i = 0; i < n_rows; i++)
        for (size_t k = 0; k < n; k++)
            print_cell(cell_text(json_object_array_get_idx(rows, i), &columns[k], buffer),
                       &columns[k], widths[k], k + 1 == n);
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
