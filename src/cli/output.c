/* SPDX-License-Identifier: MIT */
/* What commands print on standard output: JSON (--json), or a table for people. */
#include "cli_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 64 * 1024 * 1024 };

void output_begin(struct command_context *c)
{
    struct output *o = &c->out;
    const bool json = c->options.json;
    if (!c->arena)
        c->arena = arena_create(TEXT_MAX);
    *o = (struct output){.json = json,
                         .text = {.arena = c->arena, .failed = !c->arena},
                         .nothing = {.failed = true},
                         .writer = {.b = json ? &o->text : &o->nothing},
                         .now = clock_wall_us()};
    json_write_object_open(&o->writer);
}

/* All rows are measured before the first is written. The last column of a line is not padded. */
static void put_cell(struct output *o, const char *title, struct sv text, bool right)
{
    const size_t k = o->column;
    if (o->json || !title || k == OUTPUT_COLUMNS_MAX)
        return;
    if (o->head)
        text = sv_from(title);
    const size_t from = o->text.n;
    const bool last = ++o->column == o->columns;
    const int n = (int)text.n, width = o->widths[k], pad = right ? width : last ? 0 : -width;
    if (o->measures) {
        o->widths[k] = n > width ? n : width;
        return;
    }
    buf_printf(&o->text, "%*.*s", pad, n, text.p);
    utf8_make_printable(o->text.p, from, o->text.n);
    buf_sv(&o->text, last ? SV("\n") : SV("  "));
}

void output_text(struct output *o, const char *title, const char *name, struct sv text,
                 const char *null_text)
{
    if (name)
        json_put_text(&o->writer, name, text);
    put_cell(o, title, text.p ? text : sv_from(null_text), false);
}

void output_time(struct output *o, const char *title, const char *name, int64_t wall_us,
                 const char *null_text)
{
    char text[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(wall_us, text);
    memcpy(strchr(text, '.'), "Z", 2);
    output_text(o, title, name, wall_us == 0 ? SV_NONE : sv_from(text), null_text);
}

void output_number(struct output *o, const char *title, const char *name, int64_t n,
                   const char *word)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, n);
    if (name && word)
        json_put_str(&o->writer, name, word);
    else if (name)
        json_put_i64(&o->writer, name, n);
    put_cell(o, title, sv_from(word ? word : digits), true);
}

int output_list(struct command_context *c, enum err e, const char *name, const void *rows, size_t n,
                size_t size, output_row_fn *put)
{
    struct output *o = &c->out;
    const void *none = e == ERR_NONE ? arena_zalloc(c->arena, size) : NULL;
    if (!none)
        return command_finish(c, e == ERR_NONE ? ERR_NOMEM : e);
    output_begin(c);
    json_put_array(&o->writer, name);
    for (int pass = o->json; pass < 2; pass++)
        for (size_t i = o->json; i <= n; i++) {
            o->measures = pass == 0;
            o->head = i == 0;
            o->column = 0;
            json_write_object_open(&o->writer);
            put(o, i > 0 ? (const char *)rows + (i - 1) * size : none);
            json_write_object_close(&o->writer);
            o->columns = o->column;
        }
    json_write_array_close(&o->writer);
    return output_finish(c);
}

int output_finish(struct command_context *c)
{
    struct buf *text = &c->out.text;
    json_write_object_close(&c->out.writer);
    if (c->out.json)
        json_indent(text);
    /* Said here: command_finish changes errno. */
    int status = EXIT_GOOD;
    if (!text->failed &&
        (fwrite(buf_get(text).p, 1, text->n, stdout) != text->n || fflush(stdout) != 0))
        status = command_unwritten(errno);
    const int finished = command_finish(c, text->failed ? ERR_NOMEM : ERR_NONE);
    return status != EXIT_GOOD ? status : finished;
}
