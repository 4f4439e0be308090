/* SPDX-License-Identifier: MIT */
#include "parley/json/json_writer.h"

#include "parley/base/clock.h"
#include "parley/base/encode.h"

/* Call it before each key, and before each value without a key. */
static void write_comma(struct json_writer *j)
{
    if (j->comma)
        buf_putc(j->b, ',');
}

void json_write_open(struct json_writer *j, char bracket)
{
    write_comma(j);
    buf_putc(j->b, bracket);
    j->comma = false;
}

/* One flag is enough for all levels: a container that was closed is itself a value of its level. */
void json_write_close(struct json_writer *j, char bracket)
{
    buf_putc(j->b, bracket);
    j->comma = true;
}

struct json_writer *json_write_key(struct json_writer *j, const char *key)
{
    json_write_key_raw(j, sv_from(key));
    return j;
}

void json_write_key_raw(struct json_writer *j, struct sv key)
{
    write_comma(j);
    buf_putc(j->b, '"');
    buf_sv(j->b, key);
    BUF_LIT(j->b, "\":");
    j->comma = false;
}

void json_write_raw(struct json_writer *j, struct sv json)
{
    write_comma(j);
    buf_sv(j->b, json.p ? json : SV("null"));
    j->comma = true;
}

/* Only what RFC 8259 demands is escaped. */
static void write_escaped(struct buf *b, struct sv s)
{
    size_t plain = 0; /* start of the bytes that are not yet written */
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(b, s.p + plain, i - plain);
        char escape[JSON_ESCAPE_MAX];
        buf_put(b, escape, json_escape_write(c, escape));
        plain = i + 1;
    }
    if (s.n > 0)
        buf_put(b, s.p + plain, s.n - plain);
}

void json_write_sv(struct json_writer *j, struct sv s)
{
    if (!s.p) {
        json_write_raw(j, s);
        return;
    }
    write_comma(j);
    buf_putc(j->b, '"');
    write_escaped(j->b, s);
    buf_putc(j->b, '"');
    j->comma = true;
}

void json_put_text(struct json_writer *j, const char *key, struct sv text)
{
    const size_t from = j->b->n;
    json_put_sv(j, key, text);
    if (!utf8_valid(text, NULL))
        utf8_make_printable(j->b->p, from, j->b->n);
}

void json_write_i64(struct json_writer *j, int64_t v)
{
    write_comma(j);
    buf_i64(j->b, v);
    j->comma = true;
}

void json_write_time(struct json_writer *j, int64_t wall_us)
{
    char text[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(wall_us, text);
    json_write_sv(j, (struct sv){text, CLOCK_RFC3339_LEN});
}

void json_indent(struct buf *b)
{
    enum { LEVELS = 2 };
    const struct sv text = buf_get(b);
    struct buf out = {.arena = b->arena};
    bool quoted = false;
    int depth = 0; /* containers that are open */
    if (b->failed)
        return;
    for (size_t i = 0; i < text.n; i++) {
        const char c = text.p[i], before = i > 0 ? text.p[i - 1] : '\0';
        const bool opened = before == '{' || before == '[', closes = c == '}' || c == ']';
        if (!quoted && depth <= LEVELS && (opened != closes || before == ','))
            buf_printf(&out, "\n%*s", 2 * (depth - closes), "");
        buf_putc(&out, c);
        if (quoted && c == '\\')
            buf_putc(&out, text.p[++i]);
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && c == ':')
            buf_putc(&out, ' ');
        else if (!quoted)
            depth += (c == '{' || c == '[') - closes;
    }
    buf_putc(&out, '\n');
    *b = out;
}
