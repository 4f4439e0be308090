/* SPDX-License-Identifier: MIT */
/*
 * One JSON object a line on stderr, in one write(2). A line has at most LOG_LINE_MAX bytes, below
 * PIPE_BUF, so that lines of several processes never mix. What does not fit is cut off, and the
 * line says "cut":true; it is always valid JSON. Never log the content of messages.
 *
 *     struct log_line l;
 *     log_begin(&l, LOG_WARN, "worker_died");
 *     log_int(&l, "pid", pid);
 *     log_end(&l);
 *
 * A log_line belongs to one thread; the functions share nothing but the descriptor.
 */
#pragma once

#include "parley/base/ctx.h"

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
/* Ends the line and writes it; a line that cannot be written is lost. */
void log_end(struct log_line *l);
/* Directs the log, and everything else that is written to standard error, to this file. file "":
 * standard error stays, but no longer blocks: a line that does not fit into a pipe is lost. Call it
 * when the server starts, and to open a file again that was renamed. False, and errno: the file
 * cannot be opened, and nothing changed. */
MUSTCHECK bool log_open(const char *file);
/* Whether log_open would succeed. Creates the file. */
MUSTCHECK bool log_can_open(const char *file);

/* Writes a line of the event audit: the key of ctx, or a command, did this action. done:
 * completely. key: the key that was made or revoked, or absent. counts: sessions, messages and
 * records; NULL: none. The line goes to file if it exists, otherwise to stderr. Never pass content
 * or users. */
void log_audit(const struct request_ctx *ctx, const char *file, const char *action, bool done,
               struct sv key, const int64_t counts[3]);

/* A line with a single "message" field. */
void log_say(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);
