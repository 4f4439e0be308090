/* SPDX-License-Identifier: MIT */
/*
 * A direct JSON writer over a buf. Commas are its own business; raw text goes in as it is. The
 * caller checks buf.failed once at the end.
 */
#ifndef PARLEY_JSON_WRITE_H
#define PARLEY_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "parley/base/buf.h"

struct json_writer {
    struct buf *b;
    bool comma; /* a value was written at this level */
};

void json_write_init(struct json_writer *j, struct buf *b);
void json_write_object_open(struct json_writer *j);
void json_write_object_close(struct json_writer *j);
void json_write_array_open(struct json_writer *j);
void json_write_array_close(struct json_writer *j);
/* Names the next value. key: plain ASCII that needs no escape. */
void json_write_key(struct json_writer *j, const char *key);
/* The same for a name that is escaped already, as struct json_node has it. */
void json_write_key_raw(struct json_writer *j, struct sv key);
void json_write_sv(struct json_writer *j,
                   struct sv s); /* escaped string; absent (p == NULL) writes null */
void json_write_raw(struct json_writer *j,
                    struct sv json); /* valid JSON text, copied; absent writes null */
void json_write_i64(struct json_writer *j, int64_t v);
void json_write_bool(struct json_writer *j, bool v);
void json_write_null(struct json_writer *j);
void json_write_time(struct json_writer *j,
                     int64_t wall_us); /* RFC 3339 string, see clock_rfc3339 */
/* A member: its key, and its value as the function above has it. */
void json_put_sv(struct json_writer *j, const char *key, struct sv s);
void json_put_str(struct json_writer *j, const char *key, const char *text); /* NULL writes null */
void json_put_raw(struct json_writer *j, const char *key, struct sv json);
void json_put_i64(struct json_writer *j, const char *key, int64_t v);
void json_put_bool(struct json_writer *j, const char *key, bool v);
void json_put_time(struct json_writer *j, const char *key, int64_t wall_us);
void json_put_object(struct json_writer *j, const char *key); /* opens it */
void json_put_array(struct json_writer *j, const char *key);  /* opens it */
/* Appends the escaped form of s without quotes. Only what RFC 8259 demands is escaped. */
void json_write_escape(struct buf *b, struct sv s);

#endif
