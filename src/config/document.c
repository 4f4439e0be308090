/* SPDX-License-Identifier: MIT */
/* The settings for people: --help, docs/reference/configuration.md, the values in force. */
#include "config_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
            config_allowed(&s[i], allowed, sizeof allowed);
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
            config_allowed(&s[i], allowed, sizeof allowed);
        fprintf(out, "| `%s` | %s%s%s | %s | %s |\n", s[i].name, quote, fallback_text(&s[i]), quote,
                allowed, s[i].help);
    }
}

/* Writes *** over the bytes from from up to to. */
static void mask_range(char *text, size_t from, size_t to)
{
    memmove(text + from + 3, text + to, strlen(text + to) + 1);
    memcpy(text + from, "***", 3);
}

/* scheme://user:PASSWORD@host. Up to the last '@': rather too much is masked than too little. */
static void mask_authority(char *text)
{
    char *start = strstr(text, "://");
    char *at = strrchr(text, '@');
    char *colon = start ? strchr(start + 3, ':') : NULL;
    if (colon && at && colon < at)
        mask_range(text, (size_t)(colon + 1 - text), (size_t)(at - text));
}

/* The length of the value at p, with its quotes. */
static size_t value_length(const char *p)
{
    if (*p != '\'')
        return strcspn(p, "& \t");
    size_t n = 1;
    while (p[n] && p[n] != '\'')
        n += p[n] == '\\' && p[n + 1] ? 2 : 1;
    return n + (p[n] == '\'');
}

/* A copy of url with its passwords replaced by ***. To be freed; NULL: no memory. */
static char *mask_url(const char *url)
{
    static const char key[] = "password";
    /* Masking adds at most three bytes a password. */
    size_t room = strlen(url) + 4;
    for (const char *p = url; (p = strstr(p, key)); p++)
        room += 3;
    char *text = malloc(room);
    if (!text)
        return NULL;
    memcpy(text, url, strlen(url) + 1);
    mask_authority(text);
    for (char *p = text; (p = strstr(p, key));) {
        p += sizeof key - 1;
        p += strspn(p, " \t");
        if (*p != '=')
            continue;
        p++;
        p += strspn(p, " \t");
        size_t n = value_length(p);
        mask_range(text, (size_t)(p - text), (size_t)(p - text) + n);
        p += 3;
    }
    return text;
}

void config_each(const struct config *c, bool urls, config_each_fn *each, void *arg)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        if (s[i].type == SETTING_NUMBER || s[i].type == SETTING_SIZE) {
            each(arg, s[i].name, NULL, config_number(c, &s[i]));
        } else if (s[i].type != SETTING_URL) {
            each(arg, s[i].name, config_text(c, &s[i]), 0);
        } else if (urls) {
            char *masked = mask_url(config_text(c, &s[i]));
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
