/* SPDX-License-Identifier: MIT */
#include "parley/obs/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/base/utf8.h"

/* What must always fit behind the last field, and the room that leaves for the fields. */
#define LOG_TAIL ",\"cut\":true}\n"
enum { LOG_ROOM = LOG_LINE_MAX - (int)sizeof(LOG_TAIL) + 1 };

/* All of s or nothing: half an escape would spoil the line. One byte is kept free for the quote
 * that ends a string which did not fit. */
static bool put(struct log_line *l, const char *s, size_t n)
{
    if (n >= LOG_ROOM - l->n)
        return false;
    memcpy(l->text + l->n, s, n);
    l->n += n;
    return true;
}

static bool put_text(struct log_line *l, const char *s)
{
    return put(l, s, strlen(s));
}

/* Appends a field, or its beginning. If it does not fit, the line is marked as cut and takes no
 * further field. */
static bool put_field(struct log_line *l, const char *key, const char *value)
{
    const size_t before = l->n;
    if (!l->cut && put_text(l, ",\"") && put_text(l, key) && put_text(l, "\":") &&
        put_text(l, value))
        return true;
    l->n = before;
    l->cut = true;
    return false;
}

/* The first character of s as it stands in a JSON string; how many bytes of s it was. What is not
 * UTF-8 becomes U+FFFD byte by byte. */
static size_t escape_one(struct sv s, char out[8], size_t *out_n)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t len = 1;
    if (c == '"' || c == '\\') {
        *out_n = (size_t)snprintf(out, 8, "\\%c", c);
    } else if (c < 0x20) {
        *out_n = (size_t)snprintf(out, 8, "\\u%04x", c);
    } else {
        len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (len > s.n || !utf8_valid((struct sv){s.p, len}, NULL)) {
            *out_n = (size_t)snprintf(out, 8, "\\ufffd");
            return 1;
        }
        memcpy(out, s.p, len);
        *out_n = len;
    }
    return len;
}

void log_begin(struct log_line *l, enum log_level level, const char *event)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    char ts[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(clock_wall_us(), ts);
    l->cut = false;
    int n = snprintf(l->text, LOG_ROOM,
                     "{\"ts\":\"%s\",\"level\":\"%s\",\"pid\":%ld,\"event\":\"%.64s\"", ts,
                     levels[level], (long)getpid(), event);
    l->n = (size_t)n;
}

void log_sv(struct log_line *l, const char *key, struct sv value)
{
    if (!put_field(l, key, value.p ? "\"" : "null") || !value.p)
        return;
    while (value.n > 0) {
        char one[8];
        size_t n = 0;
        size_t eaten = escape_one(value, one, &n);
        if (!put(l, one, n)) {
            l->cut = true;
            break;
        }
        value.p += eaten;
        value.n -= eaten;
    }
    l->text[l->n++] = '"'; /* the byte that put() keeps free */
}

void log_str(struct log_line *l, const char *key, const char *value)
{
    log_sv(l, key, sv_from(value));
}

void log_int(struct log_line *l, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%lld", (long long)value);
    (void)put_field(l, key, digits);
}

struct sv log_finish(struct log_line *l)
{
    const char *tail = l->cut ? LOG_TAIL : "}\n";
    size_t n = strlen(tail);
    memcpy(l->text + l->n, tail, n);
    l->n += n;
    return (struct sv){l->text, l->n};
}

void log_end(struct log_line *l)
{
    struct sv line = log_finish(l);
    ssize_t n = 0;
    /* There is nowhere to report a failure to, and a log must never stop the service: whoever reads
     * a pipe or a socket slower than it is written loses lines (see log_open). A file that is full
     * holds the beginning of one. */
    do {
        n = send(STDERR_FILENO, line.p, line.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK)
            n = write(STDERR_FILENO, line.p, line.n);
    } while (n < 0 && errno == EINTR);
}

void log_open(void)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        return;
    /* Opened anew: O_NONBLOCK belongs to what is shared with whoever started this program, its
     * shell and its terminal among them. */
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDERR_FILENO);
        close(fd);
    } else if (S_ISFIFO(st.st_mode)) {
        /* Another user's pipe. Who shares its end writes a log into it, too. */
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        if (flags >= 0)
            (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
    }
}

void log_say(enum log_level level, const char *event, const char *fmt, ...)
{
    char message[2048];
    struct log_line l;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    log_begin(&l, level, event);
    log_str(&l, "message", n < 0 ? fmt : message);
    if (n >= (int)sizeof(message))
        l.cut = true;
    log_end(&l);
}
