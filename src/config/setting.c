/* SPDX-License-Identifier: MIT */
/* One row of the table: from text to value, and back. The settings for people: --help,
 * docs/reference/configuration.md, the values in force. */
#include "config_internal.h"

#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/sv.h"

static bool setting_is_text(const struct setting *s)
{
    return s->type == SETTING_TEXT || s->type == SETTING_URL;
}

static const char *const units[] = {"KiB", "MiB", "GiB"}; /* each 1,024 of the one before */

/* A size in the largest unit that gives a whole number; any other number as it is. */
static void format_number(const struct setting *s, int64_t n, char out[32])
{
    const char *unit = s->type == SETTING_SIZE ? " bytes" : "";
    if (s->type == SETTING_SIZE)
        for (size_t i = 0; i < ARRAY_LEN(units) && n >= 1024 && n % 1024 == 0; i++, n /= 1024)
            unit = units[i];
    snprintf(out, 32, "%" PRId64 "%s", n, unit);
}

/* The values allowed, such as "1 to 256" or "off or keys". */
static void write_allowed(const struct setting *s, char *out, size_t out_n)
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
    int64_t factor = 1;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        const size_t n = strlen(units[i]);
        factor *= 1024;
        if (t->n > n && memcmp(t->p + t->n - n, units[i], n) == 0) {
            t->n -= n;
            return factor;
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

bool config_set(struct config *c, const struct setting *s, const char *text, char *why,
                size_t why_n)
{
    char allowed[96], shown[80];
    if (parse_value(c, s, text))
        return true;
    copy_printable(text, shown, sizeof shown);
    write_allowed(s, allowed, sizeof allowed);
    /* A URL may hold a password. */
    if (s->type == SETTING_URL)
        snprintf(why, why_n, "%s must have %s", s->name, allowed);
    else
        snprintf(why, why_n, "%s is \"%s\"; it may be %s%s", s->name, shown, allowed,
                 s->type == SETTING_SIZE ? ", in bytes or with KiB, MiB or GiB" : "");
    return false;
}

/* ---- for people ---- */

static const char *fallback_text(const struct setting *s)
{
    if (!s->fallback)
        return "required";
    return s->fallback[0] ? s->fallback : "empty";
}

void config_help(FILE *out)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        char allowed[96] = "";
        if (!setting_is_text(&s[i]))
            write_allowed(&s[i], allowed, sizeof allowed);
        fprintf(out, "  %-24s%s\n  %-24s[%s%s%s]\n", s[i].name, s[i].help, "", fallback_text(&s[i]),
                allowed[0] ? "; " : "", allowed);
    }
}

void config_markdown(FILE *out)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    fprintf(out, "| variable | default | may be | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        char allowed[96] = "";
        const char *quote = s[i].fallback && s[i].fallback[0] ? "`" : "";
        if (!setting_is_text(&s[i]))
            write_allowed(&s[i], allowed, sizeof allowed);
        fprintf(out, "| `%s` | %s%s%s | %s | %s |\n", s[i].name, quote, fallback_text(&s[i]), quote,
                allowed, s[i].help);
    }
}

/* A copy of url with its passwords replaced by ***, rather too much than too little. To be freed;
 * NULL: no memory. */
static char *mask_url(const char *url)
{
    /* scheme://user:PASSWORD@host up to the last @, or password=PASSWORD, perhaps in quotes. */
    static const char pattern[] =
        "://[^:]*:(.*)@|password[ \t]*=[ \t]*('([^'\\]|\\\\.)*'?|[^& \t]*)";
    char *text = NULL;
    size_t n;
    regex_t compiled;
    regmatch_t match[3];
    if (regcomp(&compiled, pattern, REG_EXTENDED) != 0)
        return NULL;
    FILE *out = open_memstream(&text, &n);
    while (out && regexec(&compiled, url, ARRAY_LEN(match), match, 0) == 0) {
        const regmatch_t *secret = &match[match[1].rm_so < 0 ? 2 : 1];
        fprintf(out, "%.*s***", (int)secret->rm_so, url);
        url += secret->rm_eo;
    }
    regfree(&compiled);
    if (!out)
        return NULL;
    fputs(url, out);
    fclose(out);
    return text;
}

void config_each(const struct config *c, bool urls, config_each_fn *each, void *arg)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        const void *field = (const char *)c + s[i].offset;
        if (s[i].type == SETTING_NUMBER || s[i].type == SETTING_SIZE) {
            each(arg, s[i].name, NULL, *(const int64_t *)field);
        } else if (s[i].type == SETTING_CHOICE) {
            each(arg, s[i].name, s[i].choices[*(const bool *)field], 0);
        } else if (s[i].type == SETTING_TEXT) {
            each(arg, s[i].name, *(const char *const *)field, 0);
        } else if (urls) {
            char *masked = mask_url(*(const char *const *)field);
            each(arg, s[i].name, masked ? masked : "***", 0);
            free(masked);
        }
    }
}

static void print_value(void *out, const char *name, const char *text, int64_t number)
{
    if (text)
        fprintf(out, "%s=%s\n", name, text);
    else
        fprintf(out, "%s=%" PRId64 "\n", name, number);
}

void config_print(const struct config *c, FILE *out)
{
    config_each(c, true, print_value, out);
}
