/* SPDX-License-Identifier: MIT */
#include "parley/json/json_writer.h"

#include "parley/base/clock.h"
#include "parley/base/encode.h"

void json_write_init(struct json_writer *j, struct buf *b)
{
    *j = (struct json_writer){b, false};
}

/* Call it before each key, and before each value without a key. */
static void write_comma(struct json_writer *j)
{
    if (j->comma)
        buf_putc(j->b, ',');
}

static void open_with(struct json_writer *j, char bracket)
{
    write_comma(j);
    buf_putc(j->b, bracket);
    j->comma = false;
}

/* One flag is enough for all levels: a container that was closed is itself a value of its level. */
static void close_with(struct json_writer *j, char bracket)
{
    buf_putc(j->b, bracket);
    j->comma = true;
}

void json_write_object_open(struct json_writer *j)
{
    open_with(j, '{');
}

void json_write_object_close(struct json_writer *j)
{
    close_with(j, '}');
}

void json_write_array_open(struct json_writer *j)
{
    open_with(j, '[');
}

void json_write_array_close(struct json_writer *j)
{
    close_with(j, ']');
}

void json_write_key(struct json_writer *j, const char *key)
{
    json_write_key_raw(j, sv_from(key));
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
        json_write_null(j);
        return;
    }
    write_comma(j);
    buf_putc(j->b, '"');
    write_escaped(j->b, s);
    buf_putc(j->b, '"');
    j->comma = true;
}

void json_write_i64(struct json_writer *j, int64_t v)
{
    write_comma(j);
    buf_i64(j->b, v);
    j->comma = true;
}

void json_write_bool(struct json_writer *j, bool v)
{
    json_write_raw(j, v ? SV("true") : SV("false"));
}

void json_write_null(struct json_writer *j)
{
    json_write_raw(j, SV_NONE);
}

void json_write_time(struct json_writer *j, int64_t wall_us)
{
    char text[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(wall_us, text);
    json_write_sv(j, (struct sv){text, CLOCK_RFC3339_LEN});
}

void json_put_sv(struct json_writer *j, const char *key, struct sv s)
{
    json_write_key(j, key);
    json_write_sv(j, s);
}

void json_put_str(struct json_writer *j, const char *key, const char *text)
{
    json_put_sv(j, key, sv_from(text));
}

void json_put_raw(struct json_writer *j, const char *key, struct sv json)
{
    json_write_key(j, key);
    json_write_raw(j, json);
}

void json_put_i64(struct json_writer *j, const char *key, int64_t v)
{
    json_write_key(j, key);
    json_write_i64(j, v);
}

void json_put_bool(struct json_writer *j, const char *key, bool v)
{
    json_write_key(j, key);
    json_write_bool(j, v);
}

void json_put_time(struct json_writer *j, const char *key, int64_t wall_us)
{
    json_write_key(j, key);
    json_write_time(j, wall_us);
}

void json_put_object(struct json_writer *j, const char *key)
{
    json_write_key(j, key);
    json_write_object_open(j);
}

void json_put_array(struct json_writer *j, const char *key)
{
    json_write_key(j, key);
    json_write_array_open(j);
}
