/* SPDX-License-Identifier: MIT */
/* One row of the table: its text to its value, and back. */
#include "config_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/sv.h"

enum { NAME_MAX_LEN = 64, NEAR = 3 };

static void *field(struct config *c, const struct setting *s)
{
    return (char *)c + s->offset;
}

static const void *field_const(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

static void format_size(int64_t n, char *out, size_t out_n)
{
    static const char *const units[] = {" bytes", "KiB", "MiB", "GiB"};
    size_t u = 0;
    for (; u + 1 < ARRAY_LEN(units) && n >= 1024 && n % 1024 == 0; u++)
        n /= 1024;
    snprintf(out, out_n, "%" PRId64 "%s", n, units[u]);
}

void config_allowed(const struct setting *s, char *out, size_t out_n)
{
    char min[32], max[32];
    switch (s->type) {
    case SETTING_TEXT:
    case SETTING_URL:
        snprintf(out, out_n, "%" PRId64 " to %" PRId64 " characters", s->min, s->max);
        break;
    case SETTING_NUMBER:
        snprintf(out, out_n, "%" PRId64 " to %" PRId64, s->min, s->max);
        break;
    case SETTING_SIZE:
        format_size(s->min, min, sizeof min);
        format_size(s->max, max, sizeof max);
        snprintf(out, out_n, "%s to %s", min, max);
        break;
    case SETTING_CHOICE:
        snprintf(out, out_n, "%s or %s", s->words[0], s->words[1]);
        break;
    }
}

/* The suffix of a size, taken off it: the factor, or 0 if what is left ends in no digit. */
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

static bool parse(struct config *c, const struct setting *s, const char *text)
{
    switch (s->type) {
    case SETTING_TEXT:
    case SETTING_URL:
        *(const char **)field(c, s) = text;
        return parse_text(s, text);
    case SETTING_NUMBER:
    case SETTING_SIZE:
        return parse_number(s, text, field(c, s));
    case SETTING_CHOICE:
        *(bool *)field(c, s) = strcmp(text, s->words[1]) == 0;
        return strcmp(text, s->words[0]) == 0 || strcmp(text, s->words[1]) == 0;
    }
    return false;
}

/* The beginning of text, in one line. */
static void show(const char *text, char *out, size_t out_n)
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
    if (parse(c, s, text))
        return ERR_NONE;
    show(text, shown, sizeof shown);
    config_allowed(s, allowed, sizeof allowed);
    /* A URL may hold a password, and is not worth showing where it is too long. */
    if (s->type == SETTING_URL)
        snprintf(why, why_n, "%s must have %s", s->name, allowed);
    else
        snprintf(why, why_n, "%s is \"%s\"; it may be %s", s->name, shown, allowed);
    return ERR_INVALID;
}

const char *config_text(const struct config *c, const struct setting *s)
{
    if (s->type == SETTING_CHOICE)
        return s->words[*(const bool *)field_const(c, s)];
    return *(const char *const *)field_const(c, s);
}

int64_t config_number(const struct config *c, const struct setting *s)
{
    return *(const int64_t *)field_const(c, s);
}

/* Levenshtein's distance, in one row. */
static size_t distance(const char *a, size_t a_n, const char *b)
{
    size_t row[NAME_MAX_LEN + 1], b_n = strlen(b);
    for (size_t j = 0; j <= b_n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t less = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < less ? change : less;
        }
    }
    return row[b_n];
}

const char *config_nearest(const char *name, size_t name_n)
{
    size_t n, best = NEAR + 1;
    const struct setting *s = config_settings(&n);
    const char *near = NULL;
    for (size_t i = 0; name_n <= NAME_MAX_LEN && i < n; i++) {
        size_t d = distance(name, name_n, s[i].name);
        if (d < best) {
            best = d;
            near = s[i].name;
        }
    }
    return near;
}
