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

struct jout {
    struct buf *b;
    bool comma; /* a value was written at this level */
};

void jout_init(struct jout *j, struct buf *b);
void jout_object_open(struct jout *j);
void jout_object_close(struct jout *j);
void jout_array_open(struct jout *j);
void jout_array_close(struct jout *j);
/* Names the next value. key: plain ASCII that needs no escape. */
void jout_key(struct jout *j, const char *key);
/* The same for a name that is escaped already, as struct jnode has it. */
void jout_key_raw(struct jout *j, struct sv key);
void jout_sv(struct jout *j, struct sv s);     /* escaped string; absent (p == NULL) writes null */
void jout_raw(struct jout *j, struct sv json); /* valid JSON text, copied; absent writes null */
void jout_i64(struct jout *j, int64_t v);
void jout_bool(struct jout *j, bool v);
void jout_null(struct jout *j);
void jout_time(struct jout *j, int64_t wall_us); /* RFC 3339 string, see clock_rfc3339 */
/* A member: its key, and its value as the function above has it. */
void jput_sv(struct jout *j, const char *key, struct sv s);
void jput_str(struct jout *j, const char *key, const char *text); /* NULL writes null */
void jput_raw(struct jout *j, const char *key, struct sv json);
void jput_i64(struct jout *j, const char *key, int64_t v);
void jput_bool(struct jout *j, const char *key, bool v);
void jput_time(struct jout *j, const char *key, int64_t wall_us);
void jput_object(struct jout *j, const char *key); /* opens it */
void jput_array(struct jout *j, const char *key);  /* opens it */
/* Appends the escaped form of s without quotes. Only what RFC 8259 demands is escaped. */
void jout_escape(struct buf *b, struct sv s);

#endif
