/* SPDX-License-Identifier: MIT */
#include "parley/json/write.h"

#include "parley/base/clock.h"

void jout_init(struct jout *j, struct buf *b)
{
    *j = (struct jout){b, false};
}

/* Before each key, and before each value that has none. */
static void separate(struct jout *j)
{
    if (j->comma)
        buf_putc(j->b, ',');
}

static void open_with(struct jout *j, char bracket)
{
    separate(j);
    buf_putc(j->b, bracket);
    j->comma = false;
}

/* One flag is enough for all levels: what was just closed is itself a value of its level. */
static void close_with(struct jout *j, char bracket)
{
    buf_putc(j->b, bracket);
    j->comma = true;
}

void jout_object_open(struct jout *j)
{
    open_with(j, '{');
}

void jout_object_close(struct jout *j)
{
    close_with(j, '}');
}

void jout_array_open(struct jout *j)
{
    open_with(j, '[');
}

void jout_array_close(struct jout *j)
{
    close_with(j, ']');
}

void jout_key(struct jout *j, const char *key)
{
    jout_key_raw(j, sv_from(key));
}

void jout_key_raw(struct jout *j, struct sv key)
{
    separate(j);
    buf_putc(j->b, '"');
    buf_sv(j->b, key);
    BUF_LIT(j->b, "\":");
    j->comma = false;
}

void jout_raw(struct jout *j, struct sv json)
{
    separate(j);
    buf_sv(j->b, json.p ? json : SV("null"));
    j->comma = true;
}

void jout_sv(struct jout *j, struct sv s)
{
    if (!s.p) {
        jout_null(j);
        return;
    }
    separate(j);
    buf_putc(j->b, '"');
    jout_escape(j->b, s);
    buf_putc(j->b, '"');
    j->comma = true;
}

void jout_i64(struct jout *j, int64_t v)
{
    separate(j);
    buf_i64(j->b, v);
    j->comma = true;
}

void jout_bool(struct jout *j, bool v)
{
    jout_raw(j, v ? SV("true") : SV("false"));
}

void jout_null(struct jout *j)
{
    jout_raw(j, SV_NONE);
}

void jout_time(struct jout *j, int64_t wall_us)
{
    char text[CLOCK_RFC3339_LEN + 1];

    clock_rfc3339(wall_us, text);
    jout_sv(j, (struct sv){text, CLOCK_RFC3339_LEN});
}

void jput_sv(struct jout *j, const char *key, struct sv s)
{
    jout_key(j, key);
    jout_sv(j, s);
}

void jput_str(struct jout *j, const char *key, const char *text)
{
    jput_sv(j, key, sv_from(text));
}

void jput_raw(struct jout *j, const char *key, struct sv json)
{
    jout_key(j, key);
    jout_raw(j, json);
}

void jput_i64(struct jout *j, const char *key, int64_t v)
{
    jout_key(j, key);
    jout_i64(j, v);
}

void jput_bool(struct jout *j, const char *key, bool v)
{
    jout_key(j, key);
    jout_bool(j, v);
}

void jput_time(struct jout *j, const char *key, int64_t wall_us)
{
    jout_key(j, key);
    jout_time(j, wall_us);
}

void jput_object(struct jout *j, const char *key)
{
    jout_key(j, key);
    jout_object_open(j);
}

void jput_array(struct jout *j, const char *key)
{
    jout_key(j, key);
    jout_array_open(j);
}

static void escape_byte(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters['\\' + 1] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                           ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};

    buf_putc(b, '\\');
    if (letters[c]) {
        buf_putc(b, letters[c]);
        return;
    }
    BUF_LIT(b, "u00");
    buf_putc(b, hex[c >> 4]);
    buf_putc(b, hex[c & 15]);
}

void jout_escape(struct buf *b, struct sv s)
{
    size_t plain = 0; /* where the run of bytes begins that need no escape */

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(b, s.p + plain, i - plain);
        escape_byte(b, c);
        plain = i + 1;
    }
    if (s.n > 0)
        buf_put(b, s.p + plain, s.n - plain);
}
