/* SPDX-License-Identifier: MIT */
/*
 * Writes JSON into a buf, and the commas by itself. Strings are escaped, and raw JSON is copied, so
 * that stored text comes out as it was. The caller checks buf.failed once at the end.
 */
#pragma once

#include "parley/base/buf.h"

/* {.b = b} begins a text. */
struct json_writer {
    struct buf *b; /* borrowed */
    bool comma;    /* a value was written at this level */
};

/* bracket: '{' or '[', and '}' or ']'. */
void json_write_open(struct json_writer *j, char bracket);
void json_write_close(struct json_writer *j, char bracket);
#define json_write_object_open(j)  json_write_open(j, '{')
#define json_write_object_close(j) json_write_close(j, '}')
#define json_write_array_open(j)   json_write_open(j, '[')
#define json_write_array_close(j)  json_write_close(j, ']')
/* Names the next value. key: ASCII that needs no escape. Returns j. */
struct json_writer *json_write_key(struct json_writer *j, const char *key);
/* The same for a name that is escaped already, as in struct json_node. */
void json_write_key_raw(struct json_writer *j, struct sv key);
void json_write_sv(struct json_writer *j, struct sv s);     /* absent: null */
void json_write_raw(struct json_writer *j, struct sv json); /* valid JSON text; absent: null */
void json_write_i64(struct json_writer *j, int64_t v);
#define json_write_bool(j, v) json_write_raw(j, (v) ? SV("true") : SV("false"))
#define json_write_null(j)    json_write_raw(j, SV_NONE)
void json_write_time(struct json_writer *j, int64_t wall_us); /* see clock_rfc3339 */
/* Lays out for people what b has, one JSON text as this writer writes it: members and elements down
 * to the second level have a line each. It needs the memory of both texts. */
void json_indent(struct buf *b);

/* A whole member: its key, and its value as above. */
#define json_put_sv(j, key, s)     json_write_sv(json_write_key(j, key), s)
#define json_put_str(j, key, text) json_write_sv(json_write_key(j, key), sv_from(text))
#define json_put_raw(j, key, json) json_write_raw(json_write_key(j, key), json)
#define json_put_i64(j, key, v)    json_write_i64(json_write_key(j, key), v)
/* null if it is 0. */
#define json_put_i64_or_null(j, key, v) \
    ((v) > 0 ? json_put_i64(j, key, v) : json_put_raw(j, key, SV_NONE))
#define json_put_time_or_null(j, key, us) \
    ((us) > 0 ? json_put_time(j, key, us) : json_put_raw(j, key, SV_NONE))
#define json_put_bool(j, key, v)  json_write_bool(json_write_key(j, key), v)
#define json_put_time(j, key, us) json_write_time(json_write_key(j, key), us)
/* A text from outside. If it is not UTF-8, its bad bytes and control characters become "?". */
void json_put_text(struct json_writer *j, const char *key, struct sv text);
/* The caller closes these. */
#define json_put_object(j, key) json_write_object_open(json_write_key(j, key))
#define json_put_array(j, key)  json_write_array_open(json_write_key(j, key))
