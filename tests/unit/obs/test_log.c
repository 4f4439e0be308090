/* SPDX-License-Identifier: MIT */
#include "parley/obs/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parley/json/doc.h"

#include "../suite.h"

/* A line as a log collector reads it. */
struct parsed {
    struct request_ctx *ctx;
    struct json_doc doc;
};

static struct parsed parse(struct sv line)
{
    struct parsed p = {.ctx = test_ctx()};
    bool one_line = line.n > 0 && memchr(line.p, '\n', line.n) == line.p + line.n - 1;
    bool ok = one_line && json_doc_parse(p.ctx, line, json_everything, &p.doc) == ERR_NONE;
    if (!ok) {
        printf("\n    not a line of JSON: %.*s %s", SV_ARG(line), p.ctx->err.detail);
        p.doc = (struct json_doc){NULL, 0, NULL};
    }
    CU_ASSERT_TRUE(ok);
    return p;
}

static bool field_is(const struct parsed *p, const char *name, enum json_value_type type,
                     struct sv value)
{
    const struct json_node *node =
        p->doc.n ? json_doc_member(&p->doc, p->doc.nodes, sv_from(name)) : NULL;
    struct sv v = SV_NONE;
    if (!node || node->type != type)
        return false;
    if (type != JSON_IS_STRING)
        return sv_eq(node->raw, value);
    return json_doc_string(p->ctx, node, "", &v) == ERR_NONE && sv_eq(v, value);
}

/* stderr is a pipe in packet mode meanwhile, of which a read returns one write(2). */
struct capture {
    int saved, pipe[2];
};

static void begin_capture(struct capture *c)
{
    CU_ASSERT_EQUAL_FATAL(pipe2(c->pipe, O_DIRECT | O_CLOEXEC | O_NONBLOCK), 0);
    fflush(stderr);
    c->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    dup2(c->pipe[1], STDERR_FILENO);
}

/* The line that was written, in one write alone. Valid until the next call. */
static struct sv end_capture(struct capture *c)
{
    static char line[LOG_LINE_MAX + 100];
    char more[LOG_LINE_MAX];
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    close(c->pipe[1]);
    const ssize_t n = read(c->pipe[0], line, sizeof(line));
    CU_ASSERT_EQUAL(read(c->pipe[0], more, sizeof(more)), 0);
    close(c->pipe[0]);
    return (struct sv){line, n > 0 ? (size_t)n : 0};
}

static struct sv written(struct log_line *l)
{
    struct capture c;
    begin_capture(&c);
    log_end(l);
    return end_capture(&c);
}

TEST(fields_of_each_type)
{
    struct log_line l;
    char pid[24];
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());

    log_begin(&l, LOG_WARN, "worker_died");
    log_int(&l, "low", INT64_MIN);
    log_str(&l, "text", "plain");
    log_str(&l, "none", NULL);
    log_sv(&l, "empty", SV(""));
    const struct parsed p = parse(written(&l));
    CU_ASSERT_EQUAL(json_doc_member(&p.doc, p.doc.nodes, SV("ts"))->raw.n, 29);
    CU_ASSERT_TRUE(field_is(&p, "level", JSON_IS_STRING, SV("warn")));
    CU_ASSERT_TRUE(field_is(&p, "pid", JSON_IS_NUMBER, sv_from(pid)));
    CU_ASSERT_TRUE(field_is(&p, "event", JSON_IS_STRING, SV("worker_died")));
    CU_ASSERT_TRUE(field_is(&p, "low", JSON_IS_NUMBER, SV("-9223372036854775808")));
    CU_ASSERT_TRUE(field_is(&p, "text", JSON_IS_STRING, SV("plain")));
    CU_ASSERT_TRUE(field_is(&p, "none", JSON_IS_NULL, SV("null")));
    CU_ASSERT_TRUE(field_is(&p, "empty", JSON_IS_STRING, SV("")));
    CU_ASSERT_PTR_NULL(json_doc_member(&p.doc, p.doc.nodes, SV("cut")));
}

/* A client's value can neither end the line nor add a field. Fails if quotes, control characters or
 * invalid UTF-8 are not escaped: tried, one by one. */
TEST(values_are_escaped)
{
    static const struct {
        struct sv in, out;
    } t[] = {
        {SV_INIT("x\",\"level\":\"error"), SV_INIT("x\",\"level\":\"error")},
        {SV_INIT("a\\"), SV_INIT("a\\")},
        {SV_INIT("one\ntwo\r\n{\"event\":\"forged\"}"),
         SV_INIT("one\ntwo\r\n{\"event\":\"forged\"}")},
        {SV_INIT("\x01\x1f\x7f\t"), SV_INIT("\x01\x1f\x7f\t")},
        {SV_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
         SV_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")},
        {SV_INIT("a\xff"
                 "b\xc3(\xe2\x82"), /* cut and broken sequences become U+FFFD */
         SV_INIT("a\xef\xbf\xbd"
                 "b\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd")},
        {SV_INIT("\xed\xa0\x80"), SV_INIT("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct log_line l;
        log_begin(&l, LOG_INFO, "test");
        log_sv(&l, "v", t[i].in);
        log_int(&l, "after", 1);
        const struct parsed p = parse(written(&l));
        CU_ASSERT_TRUE(field_is(&p, "v", JSON_IS_STRING, t[i].out));
        CU_ASSERT_TRUE(field_is(&p, "after", JSON_IS_NUMBER, SV("1")));
    }
}

/* With any length and any escape at the cut, a line is valid JSON, short enough, and has "cut" if
 * and only if something is missing. Fails if the end of the line has no room, or a field is cut in
 * the middle: tried. */
TEST(too_long_is_cut_and_valid)
{
    static char big[LOG_LINE_MAX + 200];
    static const char *const units[] = {"a", "\"", "\x01", "\xf0\x9f\x98\x80", "\xff"};
    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        size_t unit = strlen(units[u]);
        for (size_t n = 0; n + unit <= sizeof(big); n += unit)
            memcpy(big + n, units[u], unit);
        for (size_t n = 500; n + unit <= sizeof(big); n += unit) {
            struct log_line l;
            log_begin(&l, LOG_ERROR, "test");
            log_sv(&l, "big", (struct sv){big, n / unit * unit});
            log_int(&l, "last", 7);
            struct sv line = written(&l);
            CU_ASSERT_TRUE(line.n <= LOG_LINE_MAX);
            const struct parsed p = parse(line);
            bool has_last = field_is(&p, "last", JSON_IS_NUMBER, SV("7"));
            CU_ASSERT_EQUAL(field_is(&p, "cut", JSON_IS_TRUE, SV("true")), !has_last);
            CU_ASSERT_TRUE(has_last || line.n > LOG_LINE_MAX - 32);
        }
    }
}

TEST(many_small_fields_are_cut_too)
{
    struct log_line l;
    char key[16];
    log_begin(&l, LOG_DEBUG, "test");
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        if (i % 2 == 0)
            log_int(&l, key, i);
        else
            log_str(&l, key, "v");
    }
    struct sv line = written(&l);
    CU_ASSERT_TRUE(line.n <= LOG_LINE_MAX && line.n > LOG_LINE_MAX - 40);
    const struct parsed p = parse(line);
    CU_ASSERT_TRUE(field_is(&p, "cut", JSON_IS_TRUE, SV("true")));
    CU_ASSERT_TRUE(field_is(&p, "k0", JSON_IS_NUMBER, SV("0")));
}

/* Fails if a line takes two writes: tried. */
TEST(one_line_is_one_write)
{
    struct capture c;
    begin_capture(&c);
    log_say(LOG_INFO, "said", "%d %s", 42, "lines");
    const struct parsed p = parse(end_capture(&c));
    CU_ASSERT_TRUE(field_is(&p, "event", JSON_IS_STRING, SV("said")));
    CU_ASSERT_TRUE(field_is(&p, "message", JSON_IS_STRING, SV("42 lines")));
}
