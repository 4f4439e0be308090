/* SPDX-License-Identifier: MIT */
#include "parley/obs/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/base/encode.h"

/* The end of a line that was cut must always fit; LOG_ROOM is what remains for the fields. */
#define LOG_TAIL ",\"cut\":true}\n"
enum { LOG_ROOM = LOG_LINE_MAX - (int)sizeof(LOG_TAIL) + 1 };

/* Appends all of s or nothing: half an escape would make the line invalid. One byte stays free for
 * the quote that ends a string which did not fit. */
static bool append(struct log_line *l, const char *s, size_t n)
{
    if (n >= LOG_ROOM - l->n)
        return false;
    memcpy(l->text + l->n, s, n);
    l->n += n;
    return true;
}

static bool append_text(struct log_line *l, const char *s)
{
    return append(l, s, strlen(s));
}

/* Appends a field, or the beginning of a string. A line in which it does not fit is marked as cut
 * and takes no more fields. */
static bool append_field(struct log_line *l, const char *key, const char *value)
{
    const size_t before = l->n;
    if (!l->cut && append_text(l, ",\"") && append_text(l, key) && append_text(l, "\":") &&
        append_text(l, value))
        return true;
    l->n = before;
    l->cut = true;
    return false;
}

/* Writes the first character of s as it stands in a JSON string; returns how many bytes of s that
 * was. What is not UTF-8 becomes U+FFFD byte by byte. */
static size_t escape_character(struct sv s, char out[JSON_ESCAPE_MAX], size_t *out_n)
{
    const unsigned char c = (unsigned char)s.p[0];
    const size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == '"' || c == '\\' || c < 0x20) {
        *out_n = json_escape_write(c, out);
    } else if (len > s.n || !utf8_valid((struct sv){s.p, len}, NULL)) {
        *out_n = JSON_ESCAPE_MAX;
        memcpy(out, "\\ufffd", JSON_ESCAPE_MAX);
        return 1;
    } else {
        *out_n = len;
        memcpy(out, s.p, len);
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
    if (!append_field(l, key, value.p ? "\"" : "null") || !value.p)
        return;
    while (value.n > 0) {
        char escaped[JSON_ESCAPE_MAX];
        size_t n = 0;
        const size_t taken = escape_character(value, escaped, &n);
        if (!append(l, escaped, n)) {
            l->cut = true;
            break;
        }
        value.p += taken;
        value.n -= taken;
    }
    l->text[l->n++] = '"'; /* the byte that append keeps free */
}

void log_str(struct log_line *l, const char *key, const char *value)
{
    log_sv(l, key, sv_from(value));
}

void log_int(struct log_line *l, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%lld", (long long)value);
    (void)append_field(l, key, digits);
}

static void end_line(struct log_line *l, int fd)
{
    const char *tail = l->cut ? LOG_TAIL : "}\n";
    ssize_t n = 0;
    memcpy(l->text + l->n, tail, strlen(tail));
    l->n += strlen(tail);
    /* A failure cannot be reported anywhere, and a log must never stop the service: lines for a
     * slow reader of a pipe or socket are lost (see log_open), and a full disk cuts a line. */
    do {
        n = send(fd, l->text, l->n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK)
            n = write(fd, l->text, l->n);
    } while (n < 0 && errno == EINTR);
}

void log_end(struct log_line *l)
{
    end_line(l, STDERR_FILENO);
}

void log_audit(const struct request_ctx *ctx, const char *file, const char *action, bool done,
               struct sv key, const int64_t counts[3])
{
    static const char *const names[] = {"sessions", "messages", "records"};
    struct log_line l;
    char id[17];
    /* Without O_CREAT: the service, as another user, could not open a file that a command made. */
    const int fd =
        *file ? open(file, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)
              : -1;
    log_begin(&l, LOG_INFO, "audit");
    log_str(&l, "action", action);
    log_str(&l, "outcome", done ? "done" : "partial");
    log_sv(&l, "request_id", ctx->request_id);
    log_sv(&l, "tenant", ctx->tenant);
    snprintf(id, sizeof(id), "%016" PRIx64, ctx->key_id);
    log_str(&l, "key_id", ctx->key_id != 0 ? id : NULL);
    log_sv(&l, "key", key);
    for (int i = 0; counts && i < 3; i++)
        log_int(&l, names[i], counts[i]);
    end_line(&l, fd < 0 ? STDERR_FILENO : fd);
    if (fd >= 0)
        close(fd);
}

static void open_inherited(void)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        return;
    /* Opened anew: a descriptor that was inherited shares O_NONBLOCK with the process that passed
     * it, for example a shell. */
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDERR_FILENO);
        close(fd);
    } else if (S_ISFIFO(st.st_mode)) {
        /* Another user's pipe cannot be opened. Processes that share it write logs, too. */
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        if (flags >= 0)
            (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
    }
}

/* O_NONBLOCK: if it is a FIFO, nothing waits for its reader. */
static int open_file(const char *file)
{
    return open(file, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0640);
}

bool log_open(const char *file)
{
    if (!*file) {
        open_inherited();
        return true;
    }
    const int fd = open_file(file);
    const bool good = fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO;
    if (fd >= 0)
        close(fd);
    return good;
}

bool log_can_open(const char *file)
{
    const int fd = *file ? open_file(file) : STDERR_FILENO;
    if (fd > STDERR_FILENO)
        close(fd);
    return fd >= 0;
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
