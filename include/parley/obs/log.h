/* SPDX-License-Identifier: MIT */
/*
 * One JSON object a line on stderr, one write(2) a line, at most LOG_LINE_MAX bytes (below
 * PIPE_BUF, so lines of several processes never mix). A line too long loses its last fields and the
 * end of the string that did not fit, and says "cut":true; it is always valid JSON. Nothing of a
 * message's content may be given to it.
 *
 *     struct log_line l;
 *     log_begin(&l, LOG_WARN, "worker_died");
 *     log_int(&l, "pid", pid);
 *     log_end(&l);
 *
 * Thread rule: a log_line belongs to one thread; the functions share nothing but the descriptor.
 */
#ifndef PARLEY_OBS_LOG_H
#define PARLEY_OBS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/sv.h"

enum { LOG_LINE_MAX = 4000 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_line {
    char text[LOG_LINE_MAX + 96];
    size_t n;
    bool cut;
};

/* Starts a line with ts (RFC 3339), level, pid and event. event: [a-z_]+. */
void log_begin(struct log_line *l, enum log_level level, const char *event);
void log_sv(struct log_line *l, const char *key, struct sv value); /* JSON-escaped; absent: null */
void log_str(struct log_line *l, const char *key, const char *value);
void log_int(struct log_line *l, const char *key, int64_t value);
/* Ends the line and writes it to descriptor 2; what cannot be written is lost. */
void log_end(struct log_line *l);
/* From here on no line waits for who reads the log: one that does not fit into the pipe is lost.
 * Once, at the start of a process that serves. */
void log_open(void);
/* The finished line without writing it, for tests; borrowed from l. */
struct sv log_finish(struct log_line *l);

/* A line with a single "message" field. */
void log_say(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
