/* SPDX-License-Identifier: MIT */
/*
 * Writes JSON into a buf, and the commas by itself. Strings are escaped, and raw JSON is copied, so
 * that stored text comes out as it was. The caller checks buf.failed once at the end.
 */
#ifndef PARLEY_JSON_WRITE_H
#define PARLEY_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "parley/base/buf.h"

struct json_writer {
    struct buf *b; /* borrowed */
    bool comma;    /* a value was written at this level */
};

void json_write_init(struct json_writer *j, struct buf *b);
void json_write_object_open(struct json_writer *j);
void json_write_object_close(struct json_writer *j);
void json_write_array_open(struct json_writer *j);
void json_write_array_close(struct json_writer *j);
/* Names the next value. key: ASCII that needs no escape. */
void json_write_key(struct json_writer *j, const char *key);
/* The same for a name that is escaped already, as in struct json_node. */
void json_write_key_raw(struct json_writer *j, struct sv key);
void json_write_sv(struct json_writer *j, struct sv s);     /* absent: null */
void json_write_raw(struct json_writer *j, struct sv json); /* valid JSON text; absent: null */
void json_write_i64(struct json_writer *j, int64_t v);
void json_write_bool(struct json_writer *j, bool v);
void json_write_null(struct json_writer *j);
void json_write_time(struct json_writer *j, int64_t wall_us); /* see clock_rfc3339 */

/* A whole member: its key, and its value as above. */
void json_put_sv(struct json_writer *j, const char *key, struct sv s);
void json_put_str(struct json_writer *j, const char *key, const char *text); /* NULL: null */
void json_put_raw(struct json_writer *j, const char *key, struct sv json);
void json_put_i64(struct json_writer *j, const char *key, int64_t v);
void json_put_bool(struct json_writer *j, const char *key, bool v);
void json_put_time(struct json_writer *j, const char *key, int64_t wall_us);
/* The caller closes these. */
void json_put_object(struct json_writer *j, const char *key);
void json_put_array(struct json_writer *j, const char *key);

#endif
