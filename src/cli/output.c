/* SPDX-License-Identifier: MIT */
/* What commands print: a tree of json-c, as JSON (--json) or as a table for people. */
#include "cli_internal.h"

#include <inttypes.h>
#include <json-c/json_object.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LINE_DEPTH: containers around the members that get a line each in JSON. */
enum { CELL_MAX = 32, LINE_DEPTH = 2, TEXT_MAX = 64 * 1024 * 1024 };

void output_text(struct json_tree *t, struct json_object *in, const char *name, struct sv text)
{
    char *copy = malloc(text.n + 1);
    const bool valid = utf8_valid(text, NULL);
    if (!copy) {
        t->failed = true;
        return;
    }
    for (size_t i = 0; i < text.n; i++)
        copy[i] = valid || (unsigned char)text.p[i] < 0x80 ? text.p[i] : '?';
    copy[text.n] = '\0';
    json_tree_text(t, in, name, copy);
    free(copy);
}

void output_time(struct json_tree *t, struct json_object *in, const char *name, int64_t wall_us)
{
    char text[CLOCK_RFC3339_LEN + 1];
    if (wall_us == 0) {
        json_tree_text(t, in, name, NULL);
        return;
    }
    clock_rfc3339(wall_us, text);
    memcpy(strchr(text, '.'), "Z", 2);
    output_text(t, in, name, sv_from(text));
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
    int widths[OUTPUT_COLUMNS_MAX] = {0};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i <= json_object_array_length(rows); i++)
            for (size_t k = 0; k < n && k < OUTPUT_COLUMNS_MAX; k++) {
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

int output_finish(struct command_context *c, enum err e, const struct json_object *rows,
                  const struct output_column *columns, size_t n)
{
    const bool json = c->options.json;
    struct arena *arena = json ? arena_create(TEXT_MAX) : NULL;
    struct buf text;
    if (e == ERR_NONE && (c->out.failed || (json && !arena)))
        e = ERR_NOMEM;
    if (e == ERR_NONE && json) {
        buf_init(&text, arena, 1024);
        e = json_tree_write(&c->out, LINE_DEPTH, &text);
    }
    if (e == ERR_NONE && json)
        fwrite(buf_get(&text).p, 1, buf_get(&text).n, stdout);
    else if (e == ERR_NONE && rows)
        print_table(rows, columns, n);
    arena_destroy(arena);
    return command_finish(c, e);
}
