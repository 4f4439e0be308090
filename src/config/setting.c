/* SPDX-License-Identifier: MIT */
/* One row of the table: from text to value, and back. */
#include "config_internal.h"

#include <inttypes.h>
#include <string.h>

#include "parley/base/sv.h"

static const void *field_of(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

bool setting_is_text(const struct setting *s)
{
    return s->type == SETTING_TEXT || s->type == SETTING_URL;
}

/* A size in the largest unit that gives a whole number; any other number as it is. */
static void format_number(const struct setting *s, int64_t n, char out[32])
{
    static const char *const units[] = {" bytes", "KiB", "MiB", "GiB"};
    size_t u = 0;
    if (s->type == SETTING_SIZE)
        for (; u + 1 < ARRAY_LEN(units) && n >= 1024 && n % 1024 == 0; u++)
            n /= 1024;
    snprintf(out, 32, "%" PRId64 "%s", n, s->type == SETTING_SIZE ? units[u] : "");
}

void config_allowed(const struct setting *s, char *out, size_t out_n)
{
    char min[32], max[32];
    if (s->type == SETTING_CHOICE) {
        snprintf(out, out_n, "%s or %s", s->choices[0], s->choices[1]);
        return;
    }
    format_number(s, s->min, min);
    format_number(s, s->max, max);
    snprintf(out, out_n, "%s to %s%s", min, max, setting_is_text(s) ? " characters" : "");
}

/* Takes the unit off a size; returns its factor. */
static int64_t cut_unit(struct sv *t)
{
    const struct {
        struct sv suffix;
        int64_t factor;
    } units[] = {{SV("KiB"), 1024}, {SV("MiB"), 1024 * 1024}, {SV("GiB"), 1024 * 1024 * 1024}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t n = units[i].suffix.n;
        if (t->n > n && sv_eq((struct sv){t->p + t->n - n, n}, units[i].suffix)) {
            t->n -= n;
            return units[i].factor;
        }
    }
    return 1;
}

static bool parse_number(const struct setting *s, const char *text, int64_t *out)
{
    struct sv t = sv_from(text);
    int64_t n, factor = s->type == SETTING_SIZE ? cut_unit(&t) : 1;
    if (!sv_to_i64(t, &n) || n < 0 || n > INT64_MAX / factor)
        return false;
    *out = n * factor;
    return *out >= s->min && *out <= s->max;
}

static bool parse_text(const struct setting *s, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return n >= (size_t)s->min && n <= (size_t)s->max;
}

static bool parse_value(struct config *c, const struct setting *s, const char *text)
{
    void *field = (char *)c + s->offset;
    if (s->type == SETTING_CHOICE) {
        *(bool *)field = strcmp(text, s->choices[1]) == 0;
        return *(bool *)field || strcmp(text, s->choices[0]) == 0;
    }
    if (!setting_is_text(s))
        return parse_number(s, text, field);
    *(const char **)field = text;
    return parse_text(s, text);
}

/* The beginning of text, without control characters. */
static void copy_printable(const char *text, char *out, size_t out_n)
{
    snprintf(out, out_n, "%s", text);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

enum err config_set(struct config *c, const struct setting *s, const char *text, char *why,
                    size_t why_n)
{
    char allowed[96], shown[80];
    if (parse_value(c, s, text))
        return ERR_NONE;
    copy_printable(text, shown, sizeof shown);
    config_allowed(s, allowed, sizeof allowed);
    /* A URL may hold a password. */
    if (s->type == SETTING_URL)
        snprintf(why, why_n, "%s must have %s", s->name, allowed);
    else
        snprintf(why, why_n, "%s is \"%s\"; it may be %s%s", s->name, shown, allowed,
                 s->type == SETTING_SIZE ? ", in bytes or with KiB, MiB or GiB" : "");
    return ERR_INVALID;
}

const char *config_text(const struct config *c, const struct setting *s)
{
    if (s->type == SETTING_CHOICE)
        return s->choices[*(const bool *)field_of(c, s)];
    return *(const char *const *)field_of(c, s);
}

int64_t config_number(const struct config *c, const struct setting *s)
{
    return *(const int64_t *)field_of(c, s);
}
